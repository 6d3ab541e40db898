"""One file per subcommand. A file imports heavy libraries inside its functions only."""
