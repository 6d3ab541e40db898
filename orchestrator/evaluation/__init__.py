"""Measurements of a model: loss, metrics, overfit gap and the classical baseline."""
