"""A Gaussian process over configurations, fitted to the expected final values of all trials."""
