"""Entities: texts with labelled tokens, their forms in data files, tags, windows of long texts, and their metrics."""
