"""The model registry: versions, aliases with their history, lineage, and comparisons."""
