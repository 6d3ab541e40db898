"""Recorded trials of real tasks, the sweep files they were recorded with, and the program that records them."""
