"""The MLflow runs of a sweep: written from the ledger, in repeated passes."""
