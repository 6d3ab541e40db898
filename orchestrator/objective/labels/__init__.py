"""Labels of rows: classes found in the data, class ids, counts, and hints for mistaken mappings."""
