"""Models and data by name: packaged, from a hub or from a local path; verified, cached, read."""
