"""The length of a trial and its rungs, in words: how long, why, and which rungs cannot tell trials apart."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestrator.core.metric import Metric
from orchestrator.core.sweeps.policy import StoppingName
from orchestrator.search.stopping.points import report_points
from orchestrator.search.stopping.rules import compared_at
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.spec.trial_length import MAX_EPOCHS, MIN_STEPS, RUNG_STEPS, first_rung, largest_batch, largest_warmup

_SHARES = frozenset(
    {"accuracy", "macro_f1", "weighted_f1", "micro_f1", "exact_match", "preference_accuracy", "logp_accuracy"}
)
"""Metrics which are, or behave like, a share of the rows."""
_DIFFERENCE = 0.02
"""A difference between two trials which a rung should see: two points of accuracy."""
_BEST_CASE, _WORST_CASE = 0.9, 0.5
"""Shares with the smallest and the largest standard error of the usual ones."""
_LOSS_DIFFERENCE = 0.1
"""A difference of losses which a rung should see, in nats."""
_LOSS_DEVIATION = 0.6
"""Standard deviation over rows of the difference between two trials' losses, in nats: the median over pairs of the
better half of the recorded trials of ``topic``. It is 1.5 on ``few-shot``, where trials overfit."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialLength:
    """The length of a trial in words.

    Attributes:
        text: epochs, samples and optimizer steps, with the reason.
        earliest_rung: the reason for the first rung; empty if the rule compares no trials.
        notes: warnings about rungs, one or two sentences each.
    """

    text: str
    earliest_rung: str
    notes: tuple[str, ...]


def trial_length(written: SweepSpec, spec: SweepSpec, rows: Mapping[str, int], *, resumed: bool) -> TrialLength:
    """Return the length of the sweep's longest trial in words.

    Args:
        written: the sweep file.
        spec: the same with epochs, grace period and rung metric.
        rows: number of rows by split.
        resumed: whether a stored sweep gave the values left open by the file.
    """
    train, stopping = rows["train"], spec.stopping
    samples, batch = spec.samples(train), largest_batch(spec.space, spec.fixed)
    rungs = compared_at(stopping, report_points(samples, stopping.reports))
    text = _length_text(spec, samples, batch, is_open=written.epochs_are_open, resumed=resumed)
    compares = stopping.rule is not StoppingName.NONE
    given = written.stopping.grace_samples is not None or not isinstance(stopping.reports, int) or resumed
    earliest = spec.earliest_rung(train)
    reason = "as the sweep was started" if resumed else "as the sweep file says"
    if not given:
        first = first_rung(earliest, samples)
        steps = f"{RUNG_STEPS} optimizer steps of {batch:,} rows after the warm-up"
        reason = f"not before {first:,} samples: {steps if first == earliest else 'a quarter of the training'}"
    warnings = (
        _no_rung(rungs, earliest, samples, batch) if compares and not given else None,
        _early_rungs(rungs, earliest, samples, batch, largest_warmup(spec.space, spec.fixed)),
        _noisy_rungs(rungs, spec.metric, stopping.metric or spec.metric, rows["validation"]),
    )
    # A resumed sweep would refuse the changes advised here.
    notes = () if resumed else tuple(warning for warning in warnings if warning is not None)
    return TrialLength(text=text, earliest_rung=reason if compares else "", notes=notes)


def function_length(written: SweepSpec, spec: SweepSpec, *, resumed: bool) -> TrialLength:
    """Return the length of a function's trials in words.

    Args:
        written: the sweep file.
        spec: the same with grace period and rung metric.
        resumed: whether a stored sweep gave the values left open by the file.
    """
    stopping = spec.stopping
    compares = stopping.rule is not StoppingName.NONE
    reason = "as the sweep was started" if resumed else "as the sweep file says"
    if not resumed and isinstance(stopping.reports, int) and written.stopping.grace_samples is None:
        reason = f"not before {stopping.grace_samples or 1:,} samples: a quarter of the training"
    return TrialLength(
        text=f"{spec.samples(1):,} samples (function.samples)", earliest_rung=reason if compares else "", notes=()
    )


def _length_text(spec: SweepSpec, samples: int, batch: int, *, is_open: bool, resumed: bool) -> str:
    steps = samples // batch
    if spec.space.has("epochs"):
        return f"at most {samples:,} samples: {steps:,} optimizer steps of {batch:,} rows"
    epochs = float(str(spec.fixed["epochs"]))
    text = f"{epochs:g} epoch{'' if epochs == 1 else 's'} ({samples:,} samples)"
    if not is_open or resumed or epochs == 1:
        return f"{text}: {steps:,} optimizer steps of {batch:,} rows"
    if steps >= MIN_STEPS:
        return f"{text}: at least {MIN_STEPS} optimizer steps of {batch:,} rows"
    return (
        f"{text}: {steps:,} optimizer steps of {batch:,} rows, fewer than {MIN_STEPS}, because more than {MAX_EPOCHS} "
        "epochs need training.epochs"
    )


def _no_rung(rungs: Sequence[int], earliest: int, samples: int, batch: int) -> str | None:
    """Return a warning if the trials end before the first rung, else None."""
    if rungs or earliest < samples:
        return None
    return (
        f"No trial is stopped early: trials end at {samples:,} samples, and the first rung would be at {earliest:,} "
        f"({RUNG_STEPS} optimizer steps of {batch:,} rows after the warm-up). Raise training.epochs, or set "
        "early_stopping.grace_samples."
    )


def _early_rungs(rungs: Sequence[int], earliest: int, samples: int, batch: int, warmup: float) -> str | None:
    """Return a warning if trials are compared too early, else None."""
    early = [rung for rung in rungs if rung < earliest]
    if not early:
        return None
    steps = max(0, early[0] - math.ceil(warmup * samples)) // batch
    raised = f"Set early_stopping.grace_samples: {earliest}, or raise" if earliest < samples else "Raise"
    return (
        f"Trials cannot be told apart at {_samples(early)}: {_where(early)} follows only {steps} optimizer steps of "
        f"{batch:,} rows after the warm-up, fewer than {RUNG_STEPS}. {raised} training.epochs."
    )


def _noisy_rungs(rungs: Sequence[int], searched: Metric, compared: Metric, validation: int) -> str | None:
    """Return a warning if the validation rows are too few for the metric compared, else None.

    The standard error of a share p of n rows is sqrt(p (1 - p) / n). Trials are judged on the same rows, so two of
    them differ by about the error of one, or less. Two standard errors are needed to see a difference. A loss is judged
    for classifiers only, those with a share as searched metric: the losses of texts vary less from row to row.
    """
    name = compared.name
    if not rungs:
        return None
    if name.rpartition("/")[2] in _SHARES:
        best, worst = (math.sqrt(share * (1 - share) / validation) for share in (_BEST_CASE, _WORST_CASE))
        smallest, seen = best, _DIFFERENCE
        error = f"{name} has a standard error of {best:.3f} (at {_BEST_CASE}) to {worst:.3f} (at {_WORST_CASE})"
        remedy = "Compare val/loss (early_stopping.metric), or raise data.validation."
    elif name == "val/loss" and searched.name.rpartition("/")[2] in _SHARES:
        smallest, seen = _LOSS_DEVIATION / math.sqrt(validation), _LOSS_DIFFERENCE
        error = f"{name} of two trials differs by chance with a standard error of about {smallest:.2f}"
        remedy = "Raise data.validation, or compare no trials (early_stopping: none)."
    else:
        return None
    if 2 * smallest <= seen:
        return None
    return (
        f"Trials cannot be told apart at {_samples(rungs)}: on {validation:,} validation rows, {error}, so a "
        f"difference of {seen} may be chance. {remedy}"
    )


def _where(rungs: Sequence[int]) -> str:
    return "this rung" if len(rungs) == 1 else "the first of these rungs"


def _samples(rungs: Sequence[int]) -> str:
    return f"{' · '.join(f'{rung:,}' for rung in rungs)} samples"
