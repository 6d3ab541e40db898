"""The function engine: a user's function trains a trial in a process of its own, with any framework."""
