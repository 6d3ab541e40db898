"""Errors of packs."""

from orchestrator.core.errors import LoratoryError


class CannotPackError(LoratoryError):
    """A pack cannot train this base model or this adapter; the message has the reason."""
