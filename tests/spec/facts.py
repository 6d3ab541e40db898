"""Fakes for the sweep file's tests: two objectives, a few packaged names, and helpers to load a file."""

import importlib.machinery
import sys
import types
from pathlib import Path

import pytest

from orchestrator.core.data import Origin, Source
from orchestrator.core.errors import SpecError, UserError
from orchestrator.core.metric import Direction
from orchestrator.core.tasks.objective_facts import ObjectiveFacts
from orchestrator.spec.load import load_spec
from orchestrator.spec.sweep_spec import SweepSpec

PACKAGED = ("minilm", "smollm2", "vader-movie", "vader-product", "vader-nyt", "vader-tweets", "bbc-news")
OPTIONAL = {"qlora": "bitsandbytes", "deepspeed": "deepspeed"}
"""The optional package of shipped sweep files, by their names."""
CLASSIFICATION = ObjectiveFacts(
    metrics={"loss": Direction.MINIMIZE, "accuracy": Direction.MAXIMIZE, "macro_f1": Direction.MAXIMIZE},
    default_metric="val/accuracy",
    default_model=Source(origin=Origin.PACKAGED, name="minilm"),
    default_source=Source(origin=Origin.PACKAGED, name="vader-movie"),
    labels=("negative", "positive"),
)
LANGUAGE = ObjectiveFacts(
    metrics={"loss": Direction.MINIMIZE, "perplexity": Direction.MINIMIZE},
    default_metric="val/loss",
    default_model=Source(origin=Origin.PACKAGED, name="smollm2"),
    default_source=Source(origin=Origin.PACKAGED, name="bbc-news"),
    labels=(),
)

SMALL = """\
name: small
objective: sentiment
search:
  space:
    rank: {choices: [4, 8]}
budget: {trials: 4}
"""


def objective_facts(ref: str) -> ObjectiveFacts:
    if ref.endswith(".py"):
        return CLASSIFICATION
    known = {"sentiment": CLASSIFICATION, "headline": LANGUAGE}
    if ref not in known:
        raise UserError(f"there is no objective {ref!r}; there are: {', '.join(known)}")
    return known[ref]


def pretend_installed(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a package importable for ``find_spec``, without content."""
    module = types.ModuleType(package)
    module.__spec__ = importlib.machinery.ModuleSpec(package, None, origin="pretended")
    monkeypatch.setitem(sys.modules, package, module)


def load(path: Path, *overrides: str) -> SweepSpec:
    return load_spec(path, overrides, objective_facts=objective_facts, packaged=PACKAGED)


def message(path: Path, *overrides: str) -> str:
    with pytest.raises(SpecError) as caught:
        load(path, *overrides)
    return str(caught.value)
