"""Measurement of extractive answers: exact match and F1, the threshold of no answer, and a baseline."""
