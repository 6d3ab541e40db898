"""One file per task: what it is made of. Engines hold the training loop."""
