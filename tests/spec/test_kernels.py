"""How trials compute, in a sweep file: the choices that an engine, a device or a package does not allow."""

import sys
from pathlib import Path

import pytest

from orchestrator.core.sweeps.plan import Attention, EngineName
from orchestrator.spec.fingerprint import differences, fingerprint
from tests.spec.facts import SMALL, load, message, pretend_installed

SOLO = "resources.engine=solo"


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sweep file, on a machine with the package for flash attention."""
    pretend_installed("flash_attn", monkeypatch)
    monkeypatch.chdir(tmp_path)
    Path("small.yaml").write_text(SMALL)
    return Path("small.yaml")


def test_attention_and_checkpointing_reach_the_sweep(path: Path) -> None:
    plain = load(path)
    chosen = load(path, SOLO, "training.attention=flash_attention_2", "training.gradient_checkpointing=true")
    assert (plain.attention, plain.checkpointing) == (Attention.AUTO, None)
    assert (chosen.attention, chosen.checkpointing) == (Attention.FLASH, True)
    assert differences(fingerprint(plain), fingerprint(chosen)) == [
        "training.attention: (absent) → flash_attention_2"
    ]  # recomputed activations change no result


METHODS = "search.space={{method: {{choices: [{}]}}}}"


@pytest.mark.parametrize("method", ["adapter.method=full", "adapter.method=oft", METHODS.format("full, ia3")])
def test_methods_without_packs_need_no_engine(path: Path, method: str) -> None:
    path.write_text(SMALL.replace("rank: {choices: [4, 8]}", "learning_rate: {choices: [1.0e-4, 2.0e-4]}"))
    chosen = load(path, method, "training.attention=sdpa", "training.gradient_checkpointing=true")
    assert (chosen.attention, chosen.checkpointing) == (Attention.SDPA, True)
    assert chosen.resources.engine is EngineName.PACKED


@pytest.mark.parametrize(
    ("overrides", "rule"),
    [
        ([METHODS.format("full, lora"), "training.attention=sdpa"], "sdpa needs resources: {engine: solo}"),
        (
            [SOLO, "training={precision: float16, deepspeed: zero2}"],
            "float16 is trained without DeepSpeed only; use bfloat16 or float32",
        ),
        (
            [SOLO, "training.precision=float16", "resources.workers_per_trial=2"],
            "float16 is trained in one process per trial; use bfloat16 or float32",
        ),
        (
            [METHODS.format("lora, adalora"), "training.precision=float16"],
            "adalora needs a gradient in every update, and float16 drops some; use float32",
        ),
        (["training.compile=true"], "torch.compile compiles again for each shape"),
        (["training.attention=sdpa"], "the packed engine has its own attention; sdpa needs resources: {engine: solo}"),
        (["training.gradient_checkpointing=true"], "true needs resources: {engine: solo}"),
        (
            [SOLO, "training={attention: flash_attention_2, device: cpu}"],
            "flash_attention_2 needs a CUDA device, got training.device=cpu; use sdpa",
        ),
        (
            [SOLO, "training={attention: flash_attention_2, precision: float32}"],
            "flash_attention_2 computes in bfloat16, got training.precision=float32; use sdpa",
        ),
    ],
)
def test_impossible_choice_is_refused_by_name(path: Path, overrides: list[str], rule: str) -> None:
    assert rule in message(path, *overrides)


def test_missing_flash_package_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "flash_attn", None)
    found = message(path, SOLO, "training.attention=flash_attention_2")
    assert found.endswith("not installed; install it with: pip install flash-attn")
