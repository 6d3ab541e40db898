"""The MLflow server, and what its pages show first."""
