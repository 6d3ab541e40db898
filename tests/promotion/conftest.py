"""A tracked sweep with trained adapters, on a local store."""

from dataclasses import dataclass

import pytest

from orchestrator.promotion.candidates import Candidates
from orchestrator.tracking.location import Location
from orchestrator.tracking.runs.synchroniser import Synchroniser
from tests.tracking.conftest import local_store
from tests.tracking.records import description
from tests.tracking.trained import TrainedSweep, trained_sweep

__all__ = ["local_store"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Tracked:
    trained: TrainedSweep
    location: Location

    def candidates(self) -> Candidates:
        store = self.trained.store
        return Candidates(store.record, tuple(store.records.values()), self.trained.adapters, self.location)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> TrainedSweep:
    return trained_sweep(tmp_path_factory.mktemp("trained"))


@pytest.fixture
def tracked(trained: TrainedSweep, local_store: Location) -> Tracked:
    return track(trained, local_store)


def track(trained: TrainedSweep, location: Location) -> Tracked:
    """Write the sweep to a store without its runs. From then on it has no other store."""
    trained.store.forget_cursors()
    Synchroniser(trained.store.ledger, trained.store.id, description(), location, trained.adapters).run()
    return Tracked(trained=trained, location=location)
