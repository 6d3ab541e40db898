"""Rules over several keys of a sweep file."""
