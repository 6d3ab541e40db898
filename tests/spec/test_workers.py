"""``resources.workers_per_trial`` in a sweep file: the sweeps refused with several workers."""

from pathlib import Path

import pytest

from tests.spec.facts import SMALL, load, message, pretend_installed

SOLO = "resources={engine: solo, workers_per_trial: 2}"


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sweep file, on a machine with the optional packages."""
    for package in ("bitsandbytes", "deepspeed"):
        pretend_installed(package, monkeypatch)
    monkeypatch.chdir(tmp_path)
    Path("small.yaml").write_text(SMALL)
    return Path("small.yaml")


def test_workers_reach_the_resources(path: Path) -> None:
    assert load(path).resources.workers_per_trial == 1
    assert load(path, SOLO).resources.workers_per_trial == 2
    assert load(path, SOLO, "quantisation=nf4", "training.deepspeed=zero2").quantisation == "nf4"


@pytest.mark.parametrize(
    ("overrides", "rule"),
    [
        (["resources.workers_per_trial=2"], "several workers need resources: {engine: solo}"),
        (
            [SOLO, "resources.gpus_per_trial=3"],
            "a whole number of GPUs for each of the 2 workers is needed, got 3",
        ),
        ([SOLO, "quantisation=nf4"], "FSDP2 divides no quantised weights; use training.deepspeed=zero2"),
        ([SOLO, "training.batch_size=1"], "each of the 2 workers needs a row of every micro-batch, got 1 rows"),
        (
            [SOLO, "adapter.method=oft"],
            "several workers support the methods lora, ia3, loha, lokr, vera, got oft",
        ),
        (["quantisation=nf4", "training.deepspeed=zero3"], "ZeRO-3 divides no quantised weights, got quantisation=nf4"),
    ],
)
def test_sweep_that_cannot_be_divided_is_refused(path: Path, overrides: list[str], rule: str) -> None:
    if "adapter.method=oft" in overrides:
        path.write_text(SMALL.replace("rank: {choices: [4, 8]}", "learning_rate: {choices: [1.0e-3, 2.0e-3]}"))
    assert rule in message(path, *overrides)
