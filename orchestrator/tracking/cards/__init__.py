"""The README of an adapter, for people who load it: task, data, scores, limits and code."""
