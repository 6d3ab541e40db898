"""Answers of generative tasks: writing them in batches, and measuring them against references."""
