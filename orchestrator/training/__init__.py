"""Engines: train trials to a number of samples, and report."""
