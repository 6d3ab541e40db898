"""The HTTP server: many adapters over shared base models, chosen by each request."""
