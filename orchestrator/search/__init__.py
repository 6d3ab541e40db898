"""What to try and when to stop: space, samplers, study, ledger and stopping rules. Only here: optuna."""
