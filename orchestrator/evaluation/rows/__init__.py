"""What the measured rows show: scores by class, slice and target, the worst rows, suspected labels."""
