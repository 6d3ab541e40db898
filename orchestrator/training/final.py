"""The one look at the test split: for the kept adapters alone, after the search."""

from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

from orchestrator.core.metric import Metric
from orchestrator.core.plan import EnginePlan
from orchestrator.core.trial import TrialRecord
from orchestrator.training.build import build_engine
from orchestrator.training.checkpoints import ADAPTER
from orchestrator.training.retention import leaders


def unmeasured(records: Iterable[TrialRecord], metric: Metric, k: int) -> tuple[TrialRecord, ...]:
    """Return those of the ``k`` leaders that have a checkpoint and were not measured on the test split yet."""
    return tuple(
        trial
        for trial in leaders(records, metric, k)
        if (best := trial.best(metric)) is not None
        and best.checkpoint is not None
        and not any(name.startswith("test/") for name in trial.final)
    )


def measure_test(
    plan: EnginePlan, trials: Iterable[TrialRecord], metric: Metric
) -> Iterator[tuple[int, dict[str, float]]]:
    """Measure each trial's best checkpoint; yield its number and ``test/<metric>``."""
    with closing(build_engine(plan)) as engine:
        for trial in trials:
            best = trial.best(metric)
            assert best is not None, "choose trials with `unmeasured`"
            assert best.checkpoint is not None, "choose trials with `unmeasured`"
            measured = engine.measure(Path(plan.sweep_dir) / best.checkpoint / ADAPTER, trial.task, "test")
            yield trial.number, {f"test/{name}": value for name, value in measured.items()}
