"""Engines: train trials to a number of samples, measure them, and return reports."""
