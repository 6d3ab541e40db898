"""Packs, the trials in their slots, and training steps."""
