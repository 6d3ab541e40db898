"""One Ray for all tests of a module."""

from collections.abc import Iterator

import pytest

from orchestrator.cluster.placement import Placement


@pytest.fixture(scope="module")
def shared_ray(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep one Ray with two CPUs; executors reuse its connection."""
    from orchestrator.cluster.ray_session import ray_session

    folder = tmp_path_factory.mktemp("ray")
    with ray_session(folder, Placement(trials=2, trial={"CPU": 1}), folder / "ray.log"):
        yield
