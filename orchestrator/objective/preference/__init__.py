"""Preference tuning: pairs of answers to one prompt, the first one preferred."""
