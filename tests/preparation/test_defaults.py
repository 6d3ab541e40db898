"""The values left open by a sweep file, in a new sweep and in a resumed one."""

from pathlib import Path

import pytest

from orchestrator.core.metric import Direction, Metric
from orchestrator.preparation.defaults import RUNG_METRIC, with_rung_metric, with_trial_length
from orchestrator.preparation.trial_length import TrialLength, trial_length
from orchestrator.spec.fingerprint import fingerprint
from orchestrator.spec.sweep_spec import SweepSpec
from tests.spec.facts import CLASSIFICATION, SMALL, load

DIRECTIONS = CLASSIFICATION.metrics


def read(folder: Path, *overrides: str) -> SweepSpec:
    file = folder / "small.yaml"
    file.write_text(SMALL)
    return load(file, *overrides)


def test_new_sweep_compares_the_loss(tmp_path: Path) -> None:
    spec = with_rung_metric(read(tmp_path), None, DIRECTIONS)
    assert spec.stopping.metric == RUNG_METRIC
    assert fingerprint(spec)["stopping"]["metric"] == "val/loss"


def test_written_rung_metric_has_its_direction(tmp_path: Path) -> None:
    spec = with_rung_metric(read(tmp_path, "early_stopping.metric=val/macro_f1"), None, DIRECTIONS)
    assert spec.stopping.metric == Metric(name="val/macro_f1", direction=Direction.MAXIMIZE)


@pytest.mark.parametrize("override", [(), ("early_stopping.metric=val/macro_f1",)])
def test_resumed_sweep_keeps_its_rung_metric(override: tuple[str, ...], tmp_path: Path) -> None:
    stored = fingerprint(read(tmp_path, *override))
    resumed = with_rung_metric(read(tmp_path), stored, DIRECTIONS)
    assert fingerprint(resumed) == stored
    assert (resumed.stopping.metric is None) is (not override)


def test_resumed_sweep_keeps_direction_of_shift_metric(tmp_path: Path) -> None:
    (tmp_path / "other.csv").write_text("text,label\na,0\n")
    shift = "data.shift={other: ./other.csv}"
    written = read(tmp_path, shift, "early_stopping.metric=shift/other/accuracy")
    resumed = with_rung_metric(read(tmp_path, shift), fingerprint(written), DIRECTIONS)
    assert resumed.stopping.metric == Metric(name="shift/other/accuracy", direction=Direction.MAXIMIZE)


WARM = "search.space.warmup_ratio={choices: [0, 0.1]}"
BATCH = "search.space.batch_size={choices: [8, 32]}"


@pytest.mark.parametrize(
    ("rows", "overrides", "epochs", "samples"),
    [
        (355, (), 12, 4260),
        (355, (BATCH,), 24, 8520),
        (355, ("training.accumulation=2",), 24, 8520),
        (7500, (), 1, 7500),
        (20, (), 40, 800),
        (355, ("training.epochs=2",), 2, 710),
    ],
)
def test_epochs_follow_rows_and_batch(
    rows: int, overrides: tuple[str, ...], epochs: int, samples: int, tmp_path: Path
) -> None:
    written = read(tmp_path, *overrides)
    spec = with_trial_length(written, None, rows)
    assert (spec.fixed["epochs"], spec.samples(rows)) == (epochs, samples)
    assert written.samples(rows) == samples


@pytest.mark.parametrize(
    ("overrides", "grace"),
    [
        ((), 1065),  # a quarter of 4,260 samples
        (("early_stopping.reports=3",), None),  # the first report point, 1,420, is late enough
        (("training.epochs=4",), 512),  # 32 steps of 16 rows
        ((WARM, "training.epochs=4"), 654),  # after the warm-up
        (("early_stopping.reports=[60, 500]",), None),
        (("early_stopping.grace_samples=60",), 60),
    ],
)
def test_grace_follows_warmup_and_batch(overrides: tuple[str, ...], grace: int | None, tmp_path: Path) -> None:
    assert with_trial_length(read(tmp_path, *overrides), None, 355).stopping.grace_samples == grace


@pytest.mark.parametrize("override", ["seed=0", "training.epochs=2", "early_stopping.grace_samples=60", WARM])
def test_resumed_sweep_keeps_its_length(override: str, tmp_path: Path) -> None:
    new = fingerprint(with_trial_length(read(tmp_path, override), None, 355))
    assert fingerprint(with_trial_length(read(tmp_path, override), new, 355)) == new
    earlier = fingerprint(read(tmp_path, override))  # as stored before lengths followed from the data
    assert fingerprint(with_trial_length(read(tmp_path, override), earlier, 355)) == earlier


def test_resumed_sweep_keeps_its_six_reports(tmp_path: Path) -> None:
    earlier = fingerprint(with_trial_length(read(tmp_path, "early_stopping.reports=6"), None, 355))
    assert fingerprint(with_trial_length(read(tmp_path), earlier, 355)) == earlier
    other = fingerprint(with_trial_length(read(tmp_path, "early_stopping.reports=5"), None, 355))
    assert fingerprint(with_trial_length(read(tmp_path), other, 355)) != other


def test_grace_at_first_report_changes_nothing(tmp_path: Path) -> None:
    earlier = fingerprint(read(tmp_path, "training.epochs=1", "early_stopping.reports=5"))
    written = read(tmp_path, "training.epochs=1", "early_stopping.reports=5", "early_stopping.grace_samples=71")
    assert fingerprint(with_trial_length(written, earlier, 355)) == earlier


def length_of(folder: Path, *overrides: str, rows: int = 355, validation: int = 200) -> TrialLength:
    written = read(folder, *overrides)
    spec = with_trial_length(with_rung_metric(written, None, DIRECTIONS), None, rows)
    return trial_length(written, spec, {"train": rows, "validation": validation}, resumed=False)


def test_length_has_a_reason_in_words(tmp_path: Path) -> None:
    assert length_of(tmp_path) == TrialLength(
        text="12 epochs (4,260 samples): at least 256 optimizer steps of 16 rows",
        earliest_rung="not before 1,065 samples: a quarter of the training",
        notes=(),
    )
    assert length_of(tmp_path, "training.epochs=1").text == "1 epoch (355 samples): 22 optimizer steps of 16 rows"
    assert length_of(tmp_path, rows=20).text == (
        "40 epochs (800 samples): 50 optimizer steps of 16 rows, fewer than 256, because more than 40 epochs need "
        "training.epochs"
    )
    assert length_of(tmp_path, "early_stopping=none").earliest_rung == ""
    short = length_of(tmp_path, "training.epochs=4")
    assert short.earliest_rung == "not before 512 samples: 32 optimizer steps of 16 rows after the warm-up"


def test_trials_without_rung_are_named(tmp_path: Path) -> None:
    (note,) = length_of(tmp_path, "training.epochs=1").notes
    assert note == (
        "No trial is stopped early: trials end at 355 samples, and the first rung would be at 512 (32 optimizer steps "
        "of 16 rows after the warm-up). Raise training.epochs, or set early_stopping.grace_samples."
    )
    assert length_of(tmp_path, "training.epochs=1", "early_stopping=none").notes == ()


def test_resumed_sweep_gets_no_advice(tmp_path: Path) -> None:
    written = read(tmp_path, "training.epochs=1", "early_stopping.metric=val/accuracy")
    rows = {"train": 355, "validation": 100}
    assert trial_length(written, written, rows, resumed=False).notes != ()
    assert trial_length(written, written, rows, resumed=True).notes == ()


def test_removed_metric_keeps_its_name(tmp_path: Path) -> None:
    stored = fingerprint(read(tmp_path, "early_stopping.metric=val/macro_f1"))
    resumed = with_rung_metric(read(tmp_path), stored, {"loss": Direction.MINIMIZE})
    assert fingerprint(resumed) == stored


def test_early_rung_is_named(tmp_path: Path) -> None:
    (note,) = length_of(tmp_path, "early_stopping.reports=[60, 3000]", WARM).notes
    assert note == (
        "Trials cannot be told apart at 60 samples: this rung follows only 0 optimizer steps of 16 rows after the "
        "warm-up, fewer than 32. Set early_stopping.grace_samples: 938, or raise training.epochs."
    )
    (note,) = length_of(tmp_path, "early_stopping.reports=[60]", "training.epochs=1").notes
    assert note.endswith("fewer than 32. Raise training.epochs.")


def test_noisy_rung_is_named(tmp_path: Path) -> None:
    (note,) = length_of(tmp_path, "early_stopping.metric=val/accuracy", validation=100).notes
    assert note == (
        "Trials cannot be told apart at 1,065 · 3,195 samples: on 100 validation rows, val/accuracy has a standard "
        "error of 0.030 (at 0.9) to 0.050 (at 0.5), so a difference of 0.02 may be chance. Compare val/loss "
        "(early_stopping.metric), or raise data.validation."
    )
    assert length_of(tmp_path, "early_stopping.metric=val/accuracy", validation=1000).notes == ()
    (note,) = length_of(tmp_path, validation=40).notes
    assert note == (
        "Trials cannot be told apart at 1,065 · 3,195 samples: on 40 validation rows, val/loss of two trials differs "
        "by chance with a standard error of about 0.09, so a difference of 0.1 may be chance. Raise data.validation, "
        "or compare no trials (early_stopping: none)."
    )
    assert length_of(tmp_path, "search.metric=val/loss", validation=40).notes == ()
