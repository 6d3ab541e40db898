"""The command line. ``commands`` has one file per subcommand; helpers are beside it."""
