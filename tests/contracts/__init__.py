"""Suites for the parts that this project alone implements: engines, executors, trackers and sources of rows.

They stand here and not in ``orchestrator.testing``, because users write objectives and observers, and because these
suites need the fakes of ``tests/``.
"""
