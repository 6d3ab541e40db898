"""Search policies compared over recorded trials, in simulated time."""
