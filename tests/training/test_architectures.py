"""Models with unusual code: reports match plain transformers and peft."""

from pathlib import Path
from typing import Any

import pytest
import torch

from orchestrator.assets.tokens import load_tokenizer
from orchestrator.core.data import Origin, Source
from orchestrator.core.errors import UserError
from orchestrator.evaluation.measure import measure
from orchestrator.objective.protocol import Example, Head, Objective
from orchestrator.training.model.adapters import adapt
from orchestrator.training.model.base_model import load_base
from orchestrator.training.packed.limits.fitness import reason_not_to_pack
from tests.fakes.tiny_objective import TinyCausal, TinyClassification, TinySeq2Seq
from tests.families.tiny_families import tiny_family
from tests.families.walk import walked
from tests.training.packed.packs import task

OBJECTIVES: dict[Head, Objective] = {
    Head.SEQUENCE_CLASSIFICATION: TinyClassification(),
    Head.CAUSAL_LM: TinyCausal(),
    Head.SEQ2SEQ_LM: TinySeq2Seq(),
}
LONG_ROPE = {
    "rope_type": "longrope",
    "short_factor": [1.0] * 4,
    "long_factor": [4.0, 8.0, 16.0, 32.0],
    "original_max_position_embeddings": 12,
    "rope_theta": 10_000.0,
}
DYNAMIC_ROPE = {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 100.0, "original_max_position_embeddings": 12}
SMALL = {"initializer_range": 0.02}
"""Weights with the default initialisation: attention scores near zero."""
CASES: dict[str, tuple[str, Head, dict[str, Any]]] = {
    "alibi": ("falcon", Head.CAUSAL_LM, {"alibi": True, **SMALL}),
    "long rope": ("phi3", Head.CAUSAL_LM, {"rope_parameters": LONG_ROPE}),
    "dynamic rope": ("llama", Head.CAUSAL_LM, {"rope_parameters": DYNAMIC_ROPE, "max_position_embeddings": 12}),
    "no mask": ("fnet", Head.SEQUENCE_CLASSIFICATION, {}),
    "padding is seen": ("canine", Head.SEQUENCE_CLASSIFICATION, {}),
    "n-grams": ("prophetnet", Head.SEQ2SEQ_LM, {}),
    "labels are not shifted": ("m2m_100", Head.SEQ2SEQ_LM, {}),
    "labels are not shifted either": ("blenderbot-small", Head.SEQ2SEQ_LM, {}),
    "labels are written to": ("fsmt", Head.SEQ2SEQ_LM, {}),
}


def rows_of(head: Head, *lengths: int) -> list[Example]:
    draw = torch.Generator().manual_seed(0)
    found = []
    for length in lengths:
        ids = torch.randint(7, 100, (length,), generator=draw).tolist()
        labels: Any = 1
        if head is not Head.SEQUENCE_CLASSIFICATION:
            labels = [-100] * (length - 2) + ids[-2:] if head is Head.CAUSAL_LM else ids[: length // 2 + 1]
        found.append({"input_ids": ids, "labels": labels})
    return found


@pytest.mark.parametrize("case", ["alibi", "long rope", "no mask", "labels are written to"])
def test_reports_match_plain_peft(case: str, tmp_path: Path) -> None:
    name, head, changes = CASES[case]
    found = walked(name, head, tmp_path, **changes)
    assert not found.refused, found.why
    assert not found.packs
    assert found.off is not None
    assert found.off.keys() == {"solo training", "solo export"}
    assert not found.wrong, found.off


@pytest.mark.parametrize("case", CASES)
def test_loss_of_a_row_ignores_other_rows(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name, head, changes = CASES[case]
    source = Source(origin=Origin.LOCAL, name=str(tiny_family(name, head, tmp_path, **changes)))
    objective, tokenizer = OBJECTIVES[head], load_tokenizer(source)
    rows = rows_of(head, 5, 9, 9, 16, 30, 30, 24, 5)

    def loss(rows: list[Example]) -> float:
        return measure(load_base(source, objective, "cpu").model, objective, rows, tokenizer).metrics["loss"]

    alone = [loss([row]) for row in rows]
    units = [1 if head is Head.SEQUENCE_CLASSIFICATION else sum(t != -100 for t in row["labels"]) for row in rows]
    expected = sum(own * count for own, count in zip(alone, units, strict=True)) / sum(units)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    model = load_base(source, objective, "cpu").model
    for some in (rows, rows[::-1]):  # a measurement does not depend on the previous one
        assert measure(model, objective, some, tokenizer).metrics["loss"] == pytest.approx(expected, rel=1e-5)


def test_differing_eager_attention_is_not_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    name, head, changes = CASES["alibi"]
    source = Source(origin=Origin.LOCAL, name=str(tiny_family(name, head, tmp_path / "alibi", **changes)))
    assert load_base(source, TinyCausal(), "cpu").model.config._attn_implementation == "sdpa"
    assert "the logits of eager attention differ from the default, sdpa" in caplog.text
    plain = Source(origin=Origin.LOCAL, name=str(tiny_family(name, head, tmp_path / "rope")))
    assert load_base(plain, TinyCausal(), "cpu").model.config._attn_implementation == "eager"


GEMMA = {"sliding_window": 4096, **SMALL}


@pytest.mark.parametrize(
    ("name", "head", "changes", "reason"),
    [
        ("gemma2", Head.CAUSAL_LM, GEMMA, "its attention is given softcap (50), which packs do not support"),
        ("gemma2", Head.CAUSAL_LM, {"attn_logit_softcapping": None, **GEMMA}, None),
        (
            "mistral",
            Head.CAUSAL_LM,
            {"sliding_window": 40, **SMALL},
            "in rows of 64 tokens its attention skips some",
        ),
        ("mistral", Head.CAUSAL_LM, {"sliding_window": 64, **SMALL}, None),
        (
            "modernbert-decoder",
            Head.CAUSAL_LM,
            {"local_attention": 40},
            "in rows of 64 tokens its attention skips some",
        ),
        ("llama4_text", Head.CAUSAL_LM, {"attention_chunk_size": 40}, "its attention's temperature follows"),
        (
            "llama4_text",
            Head.CAUSAL_LM,
            {"attention_chunk_size": 40, "attn_temperature_tuning": False},
            "Llama4TextAttention counts the tokens of a forward",
        ),
        ("llama", Head.CAUSAL_LM, CASES["dynamic rope"][2], "its RoPE follows the longest row of a forward"),
        ("phi3", Head.CAUSAL_LM, {"rope_parameters": LONG_ROPE}, "its RoPE follows the longest row of a forward"),
        ("switch_transformers", Head.SEQ2SEQ_LM, {}, "its experts take a limited number of a row's tokens"),
        ("gpt_oss", Head.CAUSAL_LM, {"sliding_window": 4096}, "its attention is given s_aux (Parameter)"),
        ("llama", Head.CAUSAL_LM, {}, None),
    ],
)
def test_code_and_configuration_decide_packing(
    name: str, head: Head, changes: dict[str, Any], reason: str | None, tmp_path: Path
) -> None:
    """The rows are short and the scores small, so the logits do not show the difference."""
    source = Source(origin=Origin.LOCAL, name=str(tiny_family(name, head, tmp_path, **changes)))
    rows = rows_of(head, 5, 9, 12, 16)
    found = reason_not_to_pack(source, OBJECTIVES[head], "cpu", load_tokenizer(source), rows, max_length=64)
    assert found is None if reason is None else found is not None and found.startswith(reason), found


def test_adapters_unloadable_by_peft_are_refused(tmp_path: Path) -> None:
    """Loading by peft renames keys of some families and loses the shared experts of Laguna."""
    model = tiny_family("laguna", Head.CAUSAL_LM, tmp_path)
    base = load_base(Source(origin=Origin.LOCAL, name=str(model)), TinyCausal(), "cpu")
    with pytest.raises(UserError, match="peft cannot load its own checkpoint of down_proj, gate_proj, up_proj"):
        adapt(base, task(0).settings, Head.CAUSAL_LM)
    base = load_base(Source(origin=Origin.LOCAL, name=str(model)), TinyCausal(), "cpu")
    adapt(base, task(0, target_modules="q_proj,v_proj").settings, Head.CAUSAL_LM)


@pytest.mark.parametrize("family", ["phimoe", "llama4_text"])
def test_layers_without_tensor_output_are_refused(tmp_path: Path, family: str) -> None:
    source = Source(origin=Origin.LOCAL, name=str(tiny_family(family, Head.CAUSAL_LM, tmp_path)))
    with pytest.raises(UserError, match=r"router .* returns more than a tensor, .* name other modules"):
        adapt(load_base(source, TinyCausal(), "cpu"), task(0).settings, Head.CAUSAL_LM)
    adapt(load_base(source, TinyCausal(), "cpu"), task(0, target_modules="q_proj,v_proj").settings, Head.CAUSAL_LM)
