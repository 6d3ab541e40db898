"""Keys read into checked values: space, start points, sources, functions, DeepSpeed."""
