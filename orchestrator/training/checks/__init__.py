"""Checks of a model, its adapters and the objective before the first trial trains."""
