"""Trial tables: recorded trials of one task, for the replay of search policies."""
