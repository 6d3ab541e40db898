"""The number of trials to train at once: by speed, by memory, and measured with real packs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.training.context import EngineContext
from orchestrator.training.mixed import MixedEngine
from orchestrator.training.packed.limits.sizing import grow_while_faster, shrink_to_fit
from tests.fakes.tiny_models import tiny_bert, tiny_deberta
from tests.fakes.tiny_objective import TinyClassification
from tests.training.packed.packs import World


@pytest.mark.parametrize(
    ("rates", "slots", "why"),
    [
        ({1: 100, 2: 190, 4: 200}, 2, "measured 190 tokens/s, with 4 together 200"),
        ({1: 100, 2: 109}, 1, "measured 100 tokens/s, with 2 together 109"),
        ({1: 100, 2: 190, 4: None}, 2, "measured 190 tokens/s, and no memory for 4 together"),
        ({1: 100, 2: 200, 4: 400, 6: 500}, 6, "the maximum; measured 500 tokens/s"),
        ({1: None}, 1, "no memory for 1"),
    ],
)
def test_number_is_doubled_while_faster(rates: dict[int, float | None], slots: int, why: str) -> None:
    assert grow_while_faster(1, 6, rates.__getitem__) == (slots, why)


@pytest.mark.parametrize(
    ("took", "slots", "why"),
    [
        ({8: 790.0}, 8, "with the largest configuration they need 790 of 1,000 MiB"),
        ({8: 900.0, 4: None, 2: 300.0}, 2, "with the largest configuration they need 300 of 1,000 MiB"),
        ({8: None, 4: None, 2: None, 1: 900.0}, 1, "one trial of the largest needs more than 80% of 1,000 MiB"),
    ],
)
def test_number_is_halved_until_the_largest_fit(took: dict[int, float | None], slots: int, why: str) -> None:
    assert shrink_to_fit(8, 1000, took.__getitem__) == (slots, why)


def test_measuring_capacity_leaves_no_files_or_slots(tmp_path: Path) -> None:
    world = World(tiny_bert(tmp_path / "model"), TinyClassification(), tmp_path / "sweep")
    engine = MixedEngine(EngineContext(world.plan, world.objective))
    found = engine.capacity(2, measure=True)
    assert found.packs
    assert found.slots in {1, 2}
    assert "tokens/s" in found.why
    assert "MiB" in found.why
    assert not (tmp_path / "sweep").exists()
    assert not any(engine.holds(number) for number in range(4))


def test_capacity_of_unpackable_base_is_one(tmp_path: Path) -> None:
    world = World(tiny_deberta(tmp_path / "model"), TinyClassification(), tmp_path / "sweep", packed=False)
    found = MixedEngine(EngineContext(world.plan, world.objective)).capacity(8, measure=True)
    assert (found.slots, found.packs) == (1, False)
    assert "cannot be packed" in found.why


SHORT_OF_MEMORY = """
import resource, sys
from pathlib import Path

from orchestrator.training.context import EngineContext
from orchestrator.training.mixed import MixedEngine
from tests.fakes.tiny_models import tiny_bert
from tests.fakes.tiny_objective import TinyClassification
from tests.training.packed.packs import POINTS, World, task

folder = Path(sys.argv[1])
world = World(tiny_bert(folder / "model"), TinyClassification(), folder / "sweep")
engine = MixedEngine(EngineContext(world.plan, world.objective))
alone = engine.start(task(0, rank=1024))
alone.advance(POINTS[1])  # all one-time allocations are made
alone.close()
taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (taken + int(sys.argv[2]), resource.RLIM_INFINITY))
runs = {engine.start(task(number, rank=1024)): POINTS[1] for number in range(1, 5)}
most, found = 0, {}
while runs:
    reports = engine.step(runs)
    most = max(most, sum(engine.holds(run.number) for run in runs))
    for run in reports:
        del runs[run]
        run.close()
    found |= {run.number: report.nominal_samples for run, report in reports.items()}
assert sorted(found) == list(range(1, 5)), found
print(most)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="bounds the process's memory as Linux does")
def test_out_of_memory_halves_trials_and_loses_none(tmp_path: Path) -> None:
    """The limit is real: the system gives torch no more memory, and adapters of this rank are large."""
    found = subprocess.run(
        [sys.executable, "-c", SHORT_OF_MEMORY, str(tmp_path), "40_000_000"],
        capture_output=True,
        text=True,
        check=True,
        timeout=600,
        # Freed memory is returned at once: the limit counts addresses, also free ones kept by malloc.
        env=os.environ | {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "65536"},
    )
    assert int(found.stdout) in {1, 2}
    assert "out of memory with 4 trials: continuing with 2" in found.stderr
