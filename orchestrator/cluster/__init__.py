"""Executors: run the trials of a sweep in this process, or through Ray Tune. Only here: ray."""
