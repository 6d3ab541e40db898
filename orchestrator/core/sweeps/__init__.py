"""Sweeps: their record, facts, plan and policy, and the requests of users to them."""
