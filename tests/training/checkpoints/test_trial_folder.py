"""Checkpoints on disk: commit, validate, prune."""

import json
import math
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.core.trials.manifest import Owner
from orchestrator.core.trials.settings import TrialSettings
from orchestrator.core.trials.trial import Report, TrialTask
from orchestrator.training.checkpoints.trial_folder import TrialFolder


def write(folder: TrialFolder, nominal: int, **metrics: float) -> Report:
    """Commit a checkpoint with the files of a real one."""
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


def test_stored_report_is_read_unchanged(folder: TrialFolder, tmp_path: Path) -> None:
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


def test_newest_checkpoint_is_chosen_by_number(folder: TrialFolder) -> None:
    assert folder.newest_whole() is None
    for nominal in (500, 1000, 2000):
        write(folder, nominal)
    assert folder.points() == [500, 1000, 2000]
    assert folder.newest_whole() == 2000
    (folder.checkpoint(2000) / "report.json").unlink()
    assert folder.newest_whole() == 1000


def test_commit_replaces_an_interrupted_commit(folder: TrialFolder) -> None:
    folder.checkpoint(500).mkdir(parents=True)
    (folder.checkpoint(500) / "rest").write_text("half")
    write(folder, 500)
    assert not (folder.checkpoint(500) / "rest").exists()
    assert folder.newest_whole() == 500


def test_pruning_keeps_reports_and_requested_files(folder: TrialFolder) -> None:
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


TASK = TrialTask(number=7, settings=TrialSettings(rank=4), seed=3)
OWNER = Owner(sweep="0123456789abcdef", task=TASK)


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(content)


@pytest.mark.parametrize("harm", [flip, lambda file: os.truncate(file, 2), lambda file: os.truncate(file, 0)])
@pytest.mark.parametrize("name", ["optimizer.pt", "adapter/adapter_model.safetensors", "report.json"])
def test_damaged_checkpoint_falls_back_to_the_previous(
    folder: TrialFolder, name: str, harm: Callable[[Path], None]
) -> None:
    for nominal in (1, 2):
        write(folder, nominal)
    harm(folder.checkpoint(2) / name)
    assert folder.damage(2) is not None
    assert folder.newest_whole() == 1
    assert folder.damage(1) is None
    # Intact files stay; the trial writes the damaged ones again.
    assert folder.has_adapter(2) == (name == "optimizer.pt") == (folder.report(2) is not None)
    write(folder, 2)
    assert folder.newest_whole() == 2


def test_pruned_checkpoint_is_not_damaged(folder: TrialFolder) -> None:
    for nominal in (1, 2):
        write(folder, nominal)
    folder.prune({1: False})
    assert [folder.damage(nominal) for nominal in (1, 2)] == [None, None]
    assert [folder.has_adapter(nominal) for nominal in (1, 2)] == [True, False]
    flip(folder.checkpoint(1) / "adapter" / "adapter_model.safetensors")
    assert folder.damage(1) == "the contents of adapter/adapter_model.safetensors have changed"


@pytest.mark.parametrize(
    "other",
    [
        replace(OWNER, sweep="fedcba9876543210"),
        replace(OWNER, task=replace(TASK, seed=4)),
        replace(OWNER, task=replace(TASK, settings=TrialSettings(rank=8))),
    ],
)
def test_checkpoints_of_another_owner_are_ignored(tmp_path: Path, other: Owner) -> None:
    write(TrialFolder(tmp_path, 7, owner=other), 1)
    mine = TrialFolder(tmp_path, 7, owner=OWNER)
    assert mine.report(1) is None
    assert mine.newest_whole() is None
    assert mine.foreign() == [1]
    write(mine, 1)
    assert mine.newest_whole() == 1
    assert mine.foreign() == []


def test_checkpoints_of_earlier_versions_are_read(tmp_path: Path) -> None:
    report = write(TrialFolder(tmp_path, 7), 1)
    file = tmp_path / "trials/0007/checkpoint-1/report.json"
    stored = json.loads(file.read_text())
    file.write_text(json.dumps({name: stored[name] for name in Report.__slots__}))
    mine = TrialFolder(tmp_path, 7, owner=OWNER)
    assert mine.report(1) == report
    assert mine.newest_whole() == 1
    assert mine.has_adapter(1)


def test_settings_of_later_versions_keep_the_owner(tmp_path: Path) -> None:
    document = OWNER.to_json()
    del document["settings"]["method"]
    assert OWNER.owns(document)
    assert not OWNER.owns({**document, "settings": {"unheard_of": 1}})
