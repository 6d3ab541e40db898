"""Checkpoints on disk: commit, whole, prune."""

import math
from pathlib import Path

import pytest

from orchestrator.core.trial import Report
from orchestrator.training.checkpoints import TrialFolder


def write(folder: TrialFolder, nominal: int, **metrics: float) -> Report:
    """Commit a checkpoint with the files that a real one has."""
    scratch = folder.scratch / "new"
    (scratch / "adapter").mkdir(parents=True)
    (scratch / "adapter/adapter_model.safetensors").write_text("weights")
    for name in ("trainer_state.json", "optimizer.pt", "trainable.safetensors"):
        (scratch / name).write_text("state")
    report = Report(
        trial=7,
        nominal_samples=nominal,
        metrics=metrics,
        checkpoint=folder.reference(nominal),
        started_at=1.5,
        ended_at=2.5,
    )
    folder.commit(scratch, report)
    return report


@pytest.fixture
def folder(tmp_path: Path) -> TrialFolder:
    return TrialFolder(tmp_path, 7)


def test_a_report_comes_back_as_it_was(folder: TrialFolder, tmp_path: Path) -> None:
    report = write(folder, 2000, **{"val/loss": 0.1 + 0.2, "gap/loss": -1e-17, "big": math.inf})
    assert folder.report(2000) == report
    assert folder.report(4000) is None
    assert report.checkpoint == "trials/0007/checkpoint-2000"
    assert (tmp_path / "trials/0007/checkpoint-2000/report.json").is_file()
    nan = write(folder, 3000, **{"val/loss": math.nan})
    found = folder.report(3000)
    assert found is not None
    assert math.isnan(found.metrics["val/loss"])
    assert nan.metrics.keys() == found.metrics.keys()


def test_the_newest_whole_checkpoint_is_found_by_number(folder: TrialFolder) -> None:
    assert folder.newest_whole() is None
    for nominal in (500, 1000, 2000):
        write(folder, nominal)
    assert folder.points() == [500, 1000, 2000]
    assert folder.newest_whole() == 2000
    (folder.checkpoint(2000) / "report.json").unlink()
    assert folder.newest_whole() == 1000


def test_a_commit_replaces_what_an_interrupted_one_left(folder: TrialFolder) -> None:
    folder.checkpoint(500).mkdir(parents=True)
    (folder.checkpoint(500) / "rest").write_text("half")
    write(folder, 500)
    assert not (folder.checkpoint(500) / "rest").exists()
    assert folder.newest_whole() == 500


def test_pruning_keeps_reports_and_what_it_is_told_to(folder: TrialFolder) -> None:
    for nominal in (1, 2, 3):
        write(folder, nominal)
    folder.prune({2: False, 3: True})
    held = {point: sorted(path.name for path in folder.checkpoint(point).iterdir()) for point in folder.points()}
    assert held == {
        1: ["report.json"],
        2: ["adapter", "report.json"],
        3: ["adapter", "optimizer.pt", "report.json", "trainable.safetensors", "trainer_state.json"],
    }
    assert folder.newest_whole() == 3
    folder.prune({})
    assert [sorted(path.name for path in folder.checkpoint(n).iterdir()) for n in (1, 2, 3)] == [["report.json"]] * 3
