"""Sweep file: sections, JSON Schema, errors with line and column, and the checked ``SweepSpec``."""
