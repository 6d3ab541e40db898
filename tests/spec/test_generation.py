"""The section ``generation``: answers are measured if it is written, or if the search uses a metric of answers."""

from pathlib import Path

import pytest

from orchestrator.core.errors import SpecError, UserError
from orchestrator.core.metric import Direction
from orchestrator.core.tasks.generation import GenerationRequest
from orchestrator.objective.loading import load_objective
from orchestrator.objective.static import static_facts
from orchestrator.spec.fingerprint import fingerprint
from orchestrator.spec.load import load_spec
from orchestrator.spec.sweep_spec import SweepSpec

SWEEP = """
name: headlines
objective: headline
search:
  space:
    rank: {choices: [4, 8]}
budget: {trials: 2}
"""


def read(folder: Path, *overrides: str) -> SweepSpec:
    (folder / "sweep.yaml").write_text(SWEEP)
    return load_spec(folder / "sweep.yaml", overrides, objective_facts=static_facts, packaged=("bbc-news", "smollm2"))


@pytest.mark.parametrize(
    ("overrides", "request_"),
    [
        ((), GenerationRequest()),
        (("generation={}",), GenerationRequest(every=4)),
        (("generation={rows: 8, every: null, max_new_tokens: 9}",), GenerationRequest(rows=8, max_new_tokens=9)),
        (("generation={time_limit: 1m30s}",), GenerationRequest(every=4, time_limit_s=90.0)),
        (("generation={time_limit: null}",), GenerationRequest(every=4, time_limit_s=None)),
        (("search.metric=val/rouge_l",), GenerationRequest(every=1, searched=True)),
        (
            ("early_stopping={metric: val/chrf}", "generation={rows: 8}"),
            GenerationRequest(rows=8, every=1, searched=True),
        ),
        (("search.constraints={val/exact_match: {min: 0.1}}",), GenerationRequest(every=1, searched=True)),
    ],
)
def test_answers_are_written_when_asked(
    overrides: tuple[str, ...], request_: GenerationRequest, tmp_path: Path
) -> None:
    assert read(tmp_path, *overrides).generation == request_


def test_metric_of_answers_is_searched_and_kept(tmp_path: Path) -> None:
    spec = read(tmp_path, "search.metric=val/rouge_l", "generation={rows: 8}")
    assert spec.metric.direction is Direction.MAXIMIZE
    assert fingerprint(spec)["generation"] == {"rows": 8, "max_new_tokens": None}
    assert "generation" not in fingerprint(read(tmp_path, "generation={rows: 8}"))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("objective=sentiment", "generation={rows: 8}"), "generation: the objective has no metrics of answers"),
        (("search.metric=val/bleu", "generation={every: 2}"), "generation.every: the search uses a metric of answers"),
        (("generation={time_limit: 0}",), "generation.time_limit: a time such as 90s, 20m or 1h30m is needed"),
        (("search.metric=train/bleu",), "search.metric: "),
        (("search.constraints={train/bleu: {min: 1}}",), "search.constraints.train/bleu: "),
    ],
)
def test_useless_or_missing_answers_are_refused(overrides: tuple[str, ...], message: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        read(tmp_path, *overrides)
    assert message in str(caught.value)


def test_own_file_states_its_metrics_of_answers(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from orchestrator.core.tasks.generation import GENERATION_METRICS\n"
        "from orchestrator.core.metric import Direction\n"
        "from orchestrator.objective.language_modelling import CausalLM\n\n"
        "class Mine(CausalLM):\n    name = 'mine'\n    target = 'answer'\n    default_source = None\n"
        "    generation_metrics = GENERATION_METRICS\n\nOBJECTIVE = Mine()\n"
    )
    facts = static_facts(str(file))
    assert "rouge_l" in facts.generated
    file.write_text(file.read_text().replace("GENERATION_METRICS\n\nO", "{'chrf': Direction.MAXIMIZE}\n\nO"))
    assert static_facts(str(file)).generated == {"chrf"}


def test_prompt_of_the_file_is_used(tmp_path: Path) -> None:
    prompt = read(tmp_path, "objective=generation", "data.prompt='Question: {text} Answer:'").data.prompt
    objective = load_objective("generation", (), None, prompt)
    assert getattr(objective, "prompt", None) == "Question: {text} Answer:"
    assert getattr(load_objective("generation"), "prompt", None) == "{text}\n"
    with pytest.raises(UserError, match=r"data\.prompt: objective topic has no prompt"):
        load_objective("topic", (), None, prompt)
    with pytest.raises(SpecError, match="must stand once"):
        read(tmp_path, "objective=generation", "data.prompt='Answer:'")
