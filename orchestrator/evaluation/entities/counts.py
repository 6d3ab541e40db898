"""The counted entities of a row, among its stored scores."""

COUNTS = ("entities_right", "entities_predicted", "entities_true")
"""Their names. ``NAME/TYPE`` counts the entities of one type."""
