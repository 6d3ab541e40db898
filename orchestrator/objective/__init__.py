"""Objectives: the protocol, its base classes, and the loader."""
