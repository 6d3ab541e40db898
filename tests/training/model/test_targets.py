"""The modules with an adapter: by names, by a regular expression, or all linear layers."""

import copy
from pathlib import Path

import pytest
from peft import LoraConfig, get_peft_model

from orchestrator.core.data import Origin, Source
from orchestrator.core.errors import UserError
from orchestrator.core.trials.settings import TrialSettings
from orchestrator.training.model.adapters import adapt
from orchestrator.training.model.base_model import Base, load_base
from tests.fakes.tiny_models import tiny_bert
from tests.fakes.tiny_objective import TinyClassification

FIRST_LAYER = r".*layer\.0\.attention\.self\.(query|value)"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bert(tmp_path_factory.mktemp("model") / "model")


def base(folder: Path) -> Base:
    return load_base(Source(origin=Origin.LOCAL, name=str(folder)), TinyClassification(), "cpu")


@pytest.mark.parametrize("method", ["lora", "ia3", "loha", "lokr", "vera"])
def test_expression_matches_the_layers_of_peft(folder: Path, method: str) -> None:
    found, objective = base(folder), TinyClassification()
    plain = get_peft_model(copy.deepcopy(found.model), LoraConfig(target_modules=FIRST_LAYER))
    settings = TrialSettings.from_params({"method": method, "target_modules": FIRST_LAYER})
    adapted = adapt(found, settings, objective.head).model
    assert adapted.targeted_module_names == plain.targeted_module_names
    assert len(adapted.targeted_module_names) == 2
    assert adapted.peft_config["default"].to_dict()["target_modules"] == FIRST_LAYER


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (".*query_key.*", "the regular expression matches the whole path of no module, such as bert"),
        ("query(", r"not a regular expression, missing \), unterminated subpattern"),
        (" , ", "names of the model's modules are needed: query, key, value, .*; got nothing"),
    ],
)
def test_targets_without_a_module_are_refused(folder: Path, targets: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        adapt(base(folder), TrialSettings.from_params({"target_modules": targets}), TinyClassification().head)
