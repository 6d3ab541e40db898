"""Predictions with a promoted or exported model."""
