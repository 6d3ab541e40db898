"""Promotes a sweep's winner to a registered model."""
