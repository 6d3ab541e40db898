"""Proposes configurations and stops trials early: space, samplers, study, stopping rules. Only here: optuna."""
