"""The checkpoints of trials: writing, validating, keeping and recovering them."""
