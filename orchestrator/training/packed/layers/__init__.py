"""Modules of a pack: layers with parameters for each slot, attention, and hooks for flat tokens."""
