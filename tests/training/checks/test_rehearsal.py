"""Every hook of an objective is called before the first trial, and its result is checked."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from orchestrator.core.data import DataPlan, Origin, Source
from orchestrator.core.errors import ObjectiveError
from orchestrator.core.sweeps.plan import EnginePlan
from orchestrator.objective.language_modelling import CausalLM
from orchestrator.objective.loading import load_objective
from orchestrator.objective.protocol import Objective, Splits
from orchestrator.objective.sequence_to_sequence import Seq2SeqLM
from orchestrator.training.checks.rehearsal import rehearse
from tests.fakes import tiny_objective
from tests.fakes.tiny_models import tiny_bert, tiny_llama, tiny_t5

DATA = DataPlan(source=Source(origin=Origin.LOCAL, name="made up"), validation=8, test=8)


def plan(model: Path, max_length: int = 16) -> EnginePlan:
    return EnginePlan(
        objective="own",
        model=Source(origin=Origin.LOCAL, name=str(model)),
        data=DATA,
        report_points=(8,),
        sweep_dir=str(model),
        metric="val/loss",
        largest={"max_length": max_length},
    )


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bert(tmp_path_factory.mktemp("bert"))


class Counted(tiny_objective.TinyClassification):
    """Fits a baseline, and counts its rows."""

    def __init__(self) -> None:
        self.labels_seen: set[int] = set()

    def baseline(self, splits: Splits) -> Mapping[str, float] | None:
        self.labels_seen |= {*splits.train["label"][:]}
        return None


def test_a_sound_objective_passes(encoder: Path) -> None:
    task = Counted()
    assert rehearse(task, tiny_objective.tiny_splits(DATA), plan(encoder)) is None
    assert task.labels_seen == {0, 1}


class Headline(CausalLM):
    name, target, prompt = "headline", "headline", "{text} headline:"
    default_source = DATA.source


class Summary(Seq2SeqLM):
    name, target = "summary", "headline"
    default_source = DATA.source


def test_writers_pass(tmp_path: Path) -> None:
    splits = tiny_objective.tiny_splits(DATA)
    assert rehearse(Headline(), splits, plan(tiny_llama(tmp_path / "llama"))) is None
    assert rehearse(Summary(), splits, plan(tiny_t5(tmp_path / "t5"))) is None


@pytest.mark.parametrize(
    ("hook", "returned", "message"),
    [
        ("encode", [], "encode must return a list of 35 dicts with input_ids, one per row, got list"),
        ("collate", torch.zeros(2, 3), r"collate must return a dict of tensors, .*, got a tensor of shape \(2, 3\)"),
        ("collate", {"input_ids": [[1]], "labels": [0]}, "collate must return a dict of tensors"),
        ("losses", torch.zeros(4), r"losses must return two tensors of 35 values.*, got a tensor of shape \(4,\)"),
        ("losses", (torch.zeros(()), torch.zeros(4)), "losses must return two tensors of 35 values, one per row"),
        ("predictions", None, "predictions must return a list of 35 pairs, one per row, got NoneType None"),
        ("measure", None, "measure must return a dict of metrics, got NoneType None"),
        ("measure", {"accurcy": 1.0}, "measure must return every metric that `metrics` lists, accuracy too"),
    ],
)
def test_wrong_result_of_a_hook_is_refused(encoder: Path, hook: str, returned: Any, message: str) -> None:
    broken = type("Broken", (tiny_objective.TinyClassification,), {hook: lambda *_: returned})
    with pytest.raises(ObjectiveError, match=f"objective tiny-classification: {message}"):
        rehearse(broken(), tiny_objective.tiny_splits(DATA), plan(encoder))


OWN = """
from tests.fakes.tiny_objective import TinyClassification


class Own(TinyClassification):
    def HOOK(self, *_):
        raise KeyError("a row")


OBJECTIVE = Own()
"""


@pytest.mark.parametrize("hook", ["encode", "collate", "losses", "predictions", "measure", "baseline"])
def test_error_in_a_hook_names_its_line(tmp_path: Path, encoder: Path, hook: str) -> None:
    file = tmp_path / "own.py"
    file.write_text(OWN.replace("HOOK", hook))
    task: Objective = load_objective(str(file))
    message = f"objective {file}:7: {hook} raised KeyError: 'a row'"
    if hook == "baseline":
        warning = rehearse(task, tiny_objective.tiny_splits(DATA), plan(encoder))
        assert warning is not None
        assert warning.endswith(f" training rows the baseline cannot be fitted: {message}")
        return
    with pytest.raises(ObjectiveError) as caught:
        rehearse(task, tiny_objective.tiny_splits(DATA), plan(encoder))
    assert str(caught.value) == message
