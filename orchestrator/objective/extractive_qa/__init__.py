"""Extractive question answering: rows, windows over long contexts, and the spans of answers."""
