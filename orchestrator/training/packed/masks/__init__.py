"""Dropout masks: one random stream per slot."""
