"""Engines: they advance trials to a number of samples, and report."""
