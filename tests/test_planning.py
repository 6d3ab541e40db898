"""What the engines are told of a sweep file."""

from pathlib import Path

import pytest

from orchestrator.planning import plan_engine
from orchestrator.spec.load import load_spec
from tests.fakes.tiny_objective import tiny_splits
from tests.spec.facts import PACKAGED, objective_facts

SMALL = "name: small\nobjective: sentiment\nsearch: {space: {rank: {choices: [4, 8]}}}\nbudget: {trials: 4}\n"
KIND = "search.space.{}={{choices: [{}]}}"


@pytest.mark.parametrize(
    ("overrides", "kinds"),
    [
        ([], []),
        (["adapter.method=loha"], []),
        ([KIND.format("dora", "false, true")], [{"dora": False}, {"dora": True}]),
        (
            [KIND.format("method", "ia3, lora"), KIND.format("init", "default, pissa")],
            [{"method": "ia3"}, {"method": "lora", "init": "default"}, {"method": "lora", "init": "pissa"}],
        ),
        (
            [KIND.format("target_modules", "query, value"), "adapter.method=vera"],
            [{"target_modules": "query"}, {"target_modules": "value"}],
        ),
    ],
)
def test_kinds_of_trials_differ_in_what_their_method_takes(
    overrides: list[str], kinds: list[dict[str, object]], tmp_path: Path
) -> None:
    file = tmp_path / "small.yaml"
    file.write_text(
        "name: small\nobjective: sentiment\nsearch: {space: {rank: {choices: [4, 8]}}}\nbudget: {trials: 4}\n"
    )
    spec = load_spec(file, overrides, objective_facts=objective_facts, packaged=PACKAGED)
    plan = plan_engine(spec, tiny_splits(spec.data), tmp_path)
    assert list(plan.kinds) == kinds
