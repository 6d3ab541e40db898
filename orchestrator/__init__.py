"""Loratory: hyperparameter search and experiment orchestration for fine-tuning."""

__version__ = "0.1.0"
