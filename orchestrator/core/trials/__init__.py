"""Trials: their settings, reports, decisions, checkpoints and order."""
