# ruff: noqa: E501  (a message stands on one line, as the user sees it)
"""``training.deepspeed``: its forms, its errors, and the refusal of a change on resume."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from orchestrator.core.methods.deepspeed import summary
from orchestrator.spec.fingerprint import differences, fingerprint
from tests.spec.facts import SMALL, load, message, pretend_installed

TRAINER = {
    "bf16": {"enabled": "auto"},
    "zero_optimization": {
        "stage": 2,
        "offload_optimizer": {"device": "cpu", "pin_memory": "auto"},
        "reduce_bucket_size": "auto",
        "allgather_bucket_size": 5e8,
    },
    "gradient_accumulation_steps": "auto",
    "gradient_clipping": "auto",
    "steps_per_print": 2000,
    "train_batch_size": "auto",
    "wall_clock_breakdown": False,
}
"""A typical configuration for Trainer."""


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sweep file, on a machine with DeepSpeed."""
    pretend_installed("deepspeed", monkeypatch)
    monkeypatch.chdir(tmp_path)
    Path("small.yaml").write_text(SMALL)
    return Path("small.yaml")


def test_name_file_and_mapping_are_equivalent(path: Path) -> None:
    Path("ds.json").write_text(json.dumps({"zero_optimization": {"stage": 1}}))
    named, written = load(path, "training.deepspeed=zero1"), load(path, "training.deepspeed=./ds.json")
    mapped = load(path, "training.deepspeed={zero_optimization: {stage: 1}}")
    assert named.deepspeed == written.deepspeed == mapped.deepspeed == {"zero_optimization": {"stage": 1}}
    assert load(path, "training.deepspeed=zero2").deepspeed == {"zero_optimization": {"stage": 2}}
    assert load(path).deepspeed is None


def test_trainer_configuration_keeps_memory_settings(path: Path) -> None:
    Path("ds.json").write_text(json.dumps(TRAINER))
    found = load(path, "training.deepspeed=ds.json").deepspeed
    zero = {"stage": 2, "offload_optimizer": {"device": "cpu"}, "allgather_bucket_size": 500_000_000}
    assert found == {"zero_optimization": zero}
    assert summary(found) == "ZeRO-2, the optimiser in the CPU's memory"


def test_resume_refuses_other_deepspeed(path: Path) -> None:
    plain, zero = load(path), load(path, "training.deepspeed=zero2")
    assert "deepspeed" not in fingerprint(plain)  # sweeps from before this key can resume
    lines = differences(fingerprint(plain), fingerprint(zero))
    assert lines == ["training.deepspeed.zero_optimization.stage: (absent) → 2"]


@pytest.mark.parametrize(
    ("config", "place", "rule"),
    [
        ({}, "", "zero_optimization with a stage is needed: 1, 2 or 3"),
        ({"zero_optimization": 2}, ".zero_optimization", "a mapping is needed, got 2"),
        ({"zero_optimization": {}}, "", "zero_optimization with a stage is needed: 1, 2 or 3"),
        ({"zero_optimization": {"stage": 4}}, ".zero_optimization.stage", "1, 2 or 3 is needed, got 4"),
        ({"zero_optimization": {"stage": True}}, ".zero_optimization.stage", "1, 2 or 3 is needed, got true"),
        ({"zero_optimization": {"stage": "auto"}}, ".zero_optimization.stage", "1, 2 or 3 is needed, got 'auto'"),
        ({"zero_optimization": {"stage": 2, "overlap_comm": 1}}, ".zero_optimization.overlap_comm", "true or false is needed, got 1"),
        ({"zero_optimization": {"stage": 2, "reduce_bucket_size": 0}}, ".zero_optimization.reduce_bucket_size", "a whole number >= 2 is needed, got 0"),
        ({"zero_optimization": {"stage": 2, "reduce_bucket_size": 9.5}}, ".zero_optimization.reduce_bucket_size", "a whole number >= 2 is needed, got 9.5"),
        ({"zero_optimization": {"stage": 2, "allgather_bucket_size": 9}}, ".zero_optimization.allgather_bucket_size", "an even number is needed, got 9"),
        ({"zero_optimization": {"stage": 2, "reduce_buckets": 9}}, ".zero_optimization.reduce_buckets", "unknown key; did you mean reduce_bucket_size?"),
        ({"zero_optimization": {"stage": 2, "offload_param": {"device": "cpu"}}}, ".zero_optimization.offload_param", "applies only to stage 3; the stage is 2"),
        ({"zero_optimization": {"stage": 3, "stage3_prefetch_bucket_size": -1}}, ".zero_optimization.stage3_prefetch_bucket_size", "a whole number from 0 to 1,000,000,000,000 is needed, got -1"),
        ({"zero_optimization": {"stage": 2, "zenflow": {}}}, ".zero_optimization.zenflow", "unknown key; known here: stage, allgather_bucket_size, allgather_partitions, contiguous_gradients, ignore_unused_parameters, offload_optimizer, overlap_comm, reduce_bucket_size, reduce_scatter, round_robin_gradients, offload_param, stage3_gather_16bit_weights_on_model_save, stage3_max_live_parameters, stage3_max_reuse_distance, stage3_param_persistence_threshold, stage3_prefetch_bucket_size, sub_group_size"),
        ({"zero_optimization": {"stage": 2, "offload_optimizer": "cpu"}}, ".zero_optimization.offload_optimizer", "a mapping is needed, got 'cpu'"),
        ({"zero_optimization": {"stage": 2, "offload_optimizer": {}}}, ".zero_optimization.offload_optimizer", "device is needed: none or cpu"),
        ({"zero_optimization": {"stage": 2, "offload_optimizer": {"device": "nvme"}}}, ".zero_optimization.offload_optimizer.device", "none or cpu is needed, got 'nvme'"),
        ({"zero_optimization": {"stage": 2, "offload_optimizer": {"device": "cpu", "ratio": 1}}}, ".zero_optimization.offload_optimizer.ratio", "unknown key; known here: device, pin_memory"),
        ({"zero_optimization": {"stage": 2}, "train_batch_size": 8}, ".train_batch_size", "is set by training.batch_size and training.accumulation of the sweep file; remove it or write auto, got 8"),
        ({"zero_optimization": {"stage": 2}, "gradient_clipping": 1}, ".gradient_clipping", "is set by training.max_grad_norm of the sweep file; remove it or write auto, got 1"),
        ({"zero_optimization": {"stage": 2}, "fp16": {"enabled": True}}, ".fp16", "is set by training.precision of the sweep file; remove it or write auto, got {enabled: true}"),
        ({"zero_optimization": {"stage": 2}, "optimizer": {"type": "Adam"}}, ".optimizer", "is set by section training of the sweep file; remove it or write auto, got {type: 'Adam'}"),
        ({"zero_optimization": {"stage": 2}, "elasticity": {}}, ".elasticity", "only zero_optimization is supported"),
    ],
)  # fmt: skip
def test_unsupported_configuration_is_refused(path: Path, config: dict[str, Any], place: str, rule: str) -> None:
    written = f"training.deepspeed={json.dumps(config)}"
    assert message(path, written) == f"--set {written} training.deepspeed{place}: {rule}"
    Path("ds.json").write_text(json.dumps(config))
    key = f"{place.removeprefix('.')}: " if place else ""
    assert message(path, "training.deepspeed=ds.json").endswith(f" training.deepspeed: {key}{rule}, in ds.json")


def test_the_line_of_a_key_is_named(path: Path) -> None:
    path.write_text("training:\n  deepspeed:\n    zero_optimization:\n      stage: 4\n" + SMALL)
    rule = "training.deepspeed.zero_optimization.stage: 1, 2 or 3 is needed, got 4"
    assert message(path) == f"small.yaml:4:14 {rule}"


@pytest.mark.parametrize(
    ("written", "content", "rule"),
    [
        ("zero4", None, "zero1, zero2, zero3 or the path of a .json file is needed, got 'zero4'"),
        ("ds.json", None, "no such file, got 'ds.json'"),
        ("ds.json", "{", "is not valid JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1), got 'ds.json'"),
        ("ds.json", "[]", "a mapping is needed, got [], in ds.json"),
    ],
)  # fmt: skip
def test_unusable_file_is_named(path: Path, written: str, content: str | None, rule: str) -> None:
    if content is not None:
        Path("ds.json").write_text(content)
    assert (
        message(path, f"training.deepspeed={written}")
        == f"--set training.deepspeed={written} training.deepspeed: {rule}"
    )


def test_a_missing_package_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "deepspeed", None)
    path.write_text("training: {deepspeed: zero2}\n" + SMALL)
    rule = "DeepSpeed needs a package that is not installed; install it with: pip install deepspeed"
    assert message(path) == f"small.yaml:1:23 training.deepspeed: {rule}"
    path.write_text(SMALL)
    assert load(path)
