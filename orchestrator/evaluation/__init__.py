"""Measurements of a model: loss, metrics, overfit gap, early exits and the classical baseline."""
