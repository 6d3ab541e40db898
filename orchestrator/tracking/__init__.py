"""Tracking in MLflow: runs, models and the registry. Only here: mlflow."""
