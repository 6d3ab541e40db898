"""Rows of the data: columns, conversion in parts, digests, rows as encoded on disk."""
