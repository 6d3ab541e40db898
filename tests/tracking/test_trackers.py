"""The tracker's contract on a local store and on a server."""

import pytest

from orchestrator.tracking.location import Location
from tests.contracts.tracker_contract import TrackerContract


class TestLocalStore(TrackerContract):
    @pytest.fixture
    def location(self, local_store: Location) -> Location:
        return local_store


class TestServer(TrackerContract):
    @pytest.fixture
    def location(self, served_store: Location) -> Location:
        return served_store
