"""Trained adapters as folders, and as MLflow models that load without this project."""
