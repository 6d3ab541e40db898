"""Models and data by name: packaged, from the hub or from a local path; verified, cached and read."""
