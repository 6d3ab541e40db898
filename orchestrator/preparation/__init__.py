"""From a checked sweep file to a prepared sweep, once per command: rows, plans, tracking location, adapters, facts."""
