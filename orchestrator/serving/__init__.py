"""Using a promoted model."""
