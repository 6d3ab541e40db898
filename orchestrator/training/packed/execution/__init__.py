"""Packs, their slots' trials, and the steps that train them."""
