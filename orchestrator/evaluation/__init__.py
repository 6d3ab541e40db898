"""Measurements: metrics, overfitting, shift, and the scorecard of a checkpoint."""
