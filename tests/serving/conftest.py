"""The tracked sweep of the promotion tests."""

from tests.promotion.conftest import local_store, tracked, trained

__all__ = ["local_store", "tracked", "trained"]
