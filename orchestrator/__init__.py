"""Loratory: hyperparameter search and experiment orchestration for fine-tuning."""

__version__ = "0.2.0"
