"""Measure the kept adapters on the test split, once, after the search."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

from orchestrator.core.metric import Metric
from orchestrator.core.plan import EngineName, EnginePlan
from orchestrator.core.ranking import ranked_by_score
from orchestrator.core.trial import TrialRecord
from orchestrator.evaluation.gap import gaps
from orchestrator.training.build import build_engine
from orchestrator.training.checkpoints.trial_folder import ADAPTER, TrialFolder
from orchestrator.training.engine import Measure


def unmeasured(sweep_dir: Path, records: Iterable[TrialRecord], metric: Metric, k: int) -> tuple[TrialRecord, ...]:
    """Return the leaders with an adapter on disk and without test metrics, at most ``k``.

    A leader's adapter is missing if the sweep kept fewer adapters when the trial ended, or if a user removed it. A
    damaged adapter counts as missing.
    """
    return tuple(
        trial
        for trial in ranked_by_score(records, metric)[:k]
        if (best := trial.best(metric)) is not None
        and best.checkpoint is not None
        and TrialFolder(sweep_dir, trial.number).has_adapter(best.nominal_samples)
        and not any(name.startswith("test/") for name in trial.final)
    )


def measure_test(
    plan: EnginePlan, trials: Iterable[TrialRecord], metric: Metric, measure: Measure | None
) -> Iterator[tuple[int, dict[str, float]]]:
    """Measure each trial's best checkpoint in float32; yield its number and ``test/<metric>``.

    A packed sweep reports in the number format of training, so ``val/<metric>``, ``train/<metric>`` and the gaps are
    measured again in float32.

    Args:
        plan: the sweep's plan.
        trials: from `unmeasured`.
        metric: decides which checkpoint is the best.
        measure: ``measure`` of an engine of that plan; None: an engine is built.
    """
    splits = {"test": "test"}
    if plan.engine is EngineName.PACKED:
        splits |= {"val": "validation", "train": "train_eval"}
    with ExitStack() as stack:
        if measure is None:
            measure = stack.enter_context(closing(build_engine(plan))).measure
        for trial in trials:
            adapter = _adapter(Path(plan.sweep_dir), trial, metric)
            assert adapter is not None, "choose trials with `unmeasured`"
            measured = {prefix: measure(adapter, trial.task, split) for prefix, split in splits.items()}
            named = {f"{prefix}/{name}": value for prefix, values in measured.items() for name, value in values.items()}
            yield trial.number, named | gaps(measured.get("val", {}), measured.get("train", {}))


def _adapter(sweep_dir: Path, trial: TrialRecord, metric: Metric) -> Path | None:
    best = trial.best(metric)
    return None if best is None or best.checkpoint is None else sweep_dir / best.checkpoint / ADAPTER
