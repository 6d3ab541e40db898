"""YAML text with the line and column of every value, and the errors found in it."""
