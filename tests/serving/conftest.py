"""The tracked sweep of the promotion tests."""

from tests.promotion.conftest import empty_store, local_store, tracked, trained

__all__ = ["empty_store", "local_store", "tracked", "trained"]
