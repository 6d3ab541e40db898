"""Checks a sweep's winner by gates, registers it, moves aliases, and exports adapters."""
