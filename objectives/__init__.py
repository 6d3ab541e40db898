"""Shipped objectives, one file per task."""
