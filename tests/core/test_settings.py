"""Every setting has a rule; the message of a refusal names setting, rule and value."""

import pickle
from dataclasses import replace

import pytest

from orchestrator.core.errors import SpecError, UserError
from orchestrator.core.trials.settings import SETTING_RULES, TrialSettings


def test_defaults_keep_their_rules() -> None:
    settings = TrialSettings()
    assert {name: rule.problem(getattr(settings, name)) for name, rule in SETTING_RULES.items()} == dict.fromkeys(
        SETTING_RULES
    )


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("rank", 0, "rank: a value >= 1 is needed, got 0"),
        ("rank", 4.0, "rank: an integer is needed, got 4.0"),
        ("rank", True, "rank: an integer is needed, got True"),
        ("rank", None, "rank: an integer is needed, got null"),
        ("dropout", 0.96, "dropout: a value <= 0.95 is needed, got 0.96"),
        ("learning_rate", 0.0, "learning_rate: a value > 0 is needed, got 0.0"),
        ("learning_rate", float("nan"), "learning_rate: a value > 0 is needed, got nan"),
        ("schedule", "step", "schedule: one of linear, cosine, constant, wsd is needed, got 'step'"),
        ("rslora", 1, "rslora: true or false is needed, got 1"),
    ],
)
def test_value_outside_its_range_is_refused(name: str, value: object, message: str) -> None:
    with pytest.raises(UserError) as caught:
        replace(TrialSettings(), **{name: value})  # type: ignore[arg-type]
    assert str(caught.value) == message


def test_integers_are_accepted_as_real_numbers() -> None:
    assert TrialSettings(alpha=32, head_learning_rate=None).alpha == 32


def test_from_params_names_every_unknown_setting() -> None:
    with pytest.raises(UserError, match="unknown settings: ranc, warmup"):
        TrialSettings.from_params({"ranc": 4, "warmup": 0.1, "rank": 4})


def test_rows_per_update_counts_accumulated_batches() -> None:
    assert TrialSettings(batch_size=8, accumulation=4).rows_per_update == 32


def test_settings_and_errors_cross_process_borders() -> None:
    settings = TrialSettings(rank=8, schedule="cosine")
    assert pickle.loads(pickle.dumps(settings)) == settings  # noqa: S301  (our own bytes)
    error = pickle.loads(pickle.dumps(SpecError("a.yaml:1:1 name: …")))  # noqa: S301
    assert isinstance(error, SpecError)
    assert str(error) == "a.yaml:1:1 name: …"
