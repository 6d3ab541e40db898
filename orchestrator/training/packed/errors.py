"""What a pack raises by itself."""

from orchestrator.core.errors import LoratoryError


class CannotPackError(LoratoryError):
    """This base, or this adapter, has something that a pack does not know; the message says what."""
