"""Measurements that anyone can run; RESULTS.md holds what they gave."""
