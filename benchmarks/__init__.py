"""Measurements as commands. RESULTS.md has the claims of today, history/ the older figures."""
