"""Scores of entities, and their baseline."""
