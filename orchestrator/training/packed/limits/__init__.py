"""Limits of a pack: models and trials it cannot train, and the number of trials to train at once."""
