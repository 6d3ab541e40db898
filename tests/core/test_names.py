"""Names follow MLflow's own rules."""

import pytest

from orchestrator.core.errors import UserError
from orchestrator.core.names import check_alias, check_metric_names, check_model_name, logged_model_name, mlflow_key


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("val/accuracy", "val/accuracy"),
        ("rouge-l: p", "rouge-l: p"),
        ("größe", "größe"),
        ("hit@1", "hit_1"),
        ("p%", "p_"),
        ("a//b", "a/_/b"),
        ("../a", "_/a"),
        ("a/", "a/_"),
        ("a\n", "a_"),
    ],
)
def test_metric_keys_are_valid_in_mlflow(name: str, key: str) -> None:
    from mlflow.utils.validation import _validate_metric

    assert mlflow_key(name) == key
    _validate_metric(mlflow_key(name), 0.5, 0, 0)


def test_long_metric_keys_stay_different() -> None:
    from mlflow.utils.validation import _validate_metric

    keys = [mlflow_key("x" * 400 + end) for end in "ab"]
    assert keys[0] != keys[1]
    for key in keys:
        _validate_metric(key, 0.5, 0, 0)


@pytest.mark.parametrize("objective", ["mood v1.2", "team/mood", "50 % \"x\" 'y'", "a:b", "mood\n"])
def test_logged_model_names_are_valid_in_mlflow(objective: str) -> None:
    from mlflow.utils.validation import _validate_logged_model_name

    _validate_logged_model_name(logged_model_name(objective, "trial-000"))


def test_metrics_with_equal_keys_are_refused() -> None:
    check_metric_names(["loss", "hit@1", "hit@10"])
    with pytest.raises(UserError, match="'hit@1' and 'hit#1' are both recorded as 'hit_1'"):
        check_metric_names(["hit@1", "hit#1"])


@pytest.mark.parametrize("name", ["", "  ", 3, None])
def test_metrics_without_a_name_are_refused(name: object) -> None:
    with pytest.raises(UserError, match="a metric's name must be text"):
        check_metric_names([name])


@pytest.mark.parametrize("alias", ["latest", "Latest", "v1", "V12", "my alias", "a.b", "a/b", "champion\n", "a" * 300])
def test_reserved_aliases_are_refused(alias: str) -> None:
    with pytest.raises(UserError, match=r"^--alias: .*got "):
        check_alias(alias)


@pytest.mark.parametrize("alias", ["champion", "prod-1", "vv1", "v1-beta", "größe"])
def test_other_aliases_are_accepted(alias: str) -> None:
    from mlflow.utils.validation import _validate_model_alias_name, _validate_model_alias_name_reserved

    check_alias(alias)
    _validate_model_alias_name(alias)
    _validate_model_alias_name_reserved(alias)


@pytest.mark.parametrize("name", ["", " ", "a/b", "a:b", "a@b", ".", "..", "a" * 300])
def test_invalid_model_names_are_refused(name: str) -> None:
    with pytest.raises(UserError, match="a registered model cannot be called"):
        check_model_name(name)
