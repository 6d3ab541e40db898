"""The record that people browse: runs, models and the registry. Only here: mlflow."""
