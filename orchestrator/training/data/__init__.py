"""The rows of a trial: encoding, their order, and the plan of its updates."""
