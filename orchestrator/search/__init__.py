"""What to try and when to stop: space, samplers, study and stopping rules. Only here: optuna."""
