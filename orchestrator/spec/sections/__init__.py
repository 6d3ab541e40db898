"""The sections of the sweep file as pydantic models, and their errors in words."""
