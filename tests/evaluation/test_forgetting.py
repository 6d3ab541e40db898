"""Forgetting: 0 without an effect on general text, and larger the more the adapter changes it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from orchestrator.core.data import Origin, Source
from orchestrator.core.trials.settings import TrialSettings
from orchestrator.evaluation.forgetting import DRIFT, GENERAL_LOSS, LOSS, behaviour, drift, forgetting
from orchestrator.objective.protocol import Head
from orchestrator.training.model.adapters import adapt
from orchestrator.training.model.base_model import load_base
from tests.fakes.tiny_models import tiny_bert, tiny_llama, tiny_t5
from tests.fakes.tiny_objective import TinyCausal, TinyClassification, TinySeq2Seq

TEXTS = [[5 + (7 * row + 3 * place * place) % 40 for place in range(3 + row % 6)] for row in range(20)]
KINDS: dict[Head, Any] = {
    Head.SEQUENCE_CLASSIFICATION: (tiny_bert, TinyClassification()),
    Head.CAUSAL_LM: (tiny_llama, TinyCausal()),
    Head.SEQ2SEQ_LM: (tiny_t5, TinySeq2Seq()),
}


def test_drift_depends_on_order_of_similarities() -> None:
    draw = np.random.default_rng(0)
    before = draw.normal(size=(50, 8))
    rotation, _ = np.linalg.qr(draw.normal(size=(8, 8)))
    assert drift(before, 3.0 * before @ rotation) == pytest.approx(0.0, abs=1e-9)
    mixed = [drift(before, (1 - share) * before + share * draw.normal(size=(50, 8))) for share in (0.1, 0.5, 1.0)]
    assert mixed == sorted(mixed)
    assert 0.9 < mixed[-1] < 1.1
    assert drift(before, np.ones((50, 8))) == 1.0


@pytest.mark.parametrize("head", KINDS)
def test_forgetting_rises_with_the_adapter(head: Head, tmp_path: Path) -> None:
    write, objective = KINDS[head]
    torch.manual_seed(0)
    base = load_base(Source(origin=Origin.LOCAL, name=str(write(tmp_path))), objective, "cpu")
    before = behaviour(base.model, head, TEXTS)
    model = adapt(base, TrialSettings(rank=4, alpha=8.0), head).model.train()
    found = []
    for noise in (0.0, 0.05, 1.0):
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "lora_B" in name:
                    parameter.copy_(noise * torch.randn_like(parameter))
        found.append(forgetting(before, behaviour(model, head, TEXTS)))
    assert model.training
    name = LOSS if head is Head.CAUSAL_LM else DRIFT
    assert found[0][name] == pytest.approx(0.0, abs=1e-9)
    if head is not Head.CAUSAL_LM:
        assert found[0][name] < found[1][name] < found[2][name]
        return
    model.eval()
    losses = [model(input_ids=(ids := torch.tensor([text])), labels=ids).loss.item() for text in TEXTS]
    after = np.average(losses, weights=[len(text) - 1 for text in TEXTS])
    assert found[2][GENERAL_LOSS] == pytest.approx(after, rel=1e-4)
    assert found[2][LOSS] == pytest.approx(after - (before.loss or 0.0), rel=1e-2)


def test_virtual_tokens_do_not_count(tmp_path: Path) -> None:
    base = load_base(Source(origin=Origin.LOCAL, name=str(tiny_bert(tmp_path))), TinyClassification(), "cpu")
    head = Head.SEQUENCE_CLASSIFICATION
    settings = TrialSettings.from_params({"method": "prompt_tuning", "options.num_virtual_tokens": 4})
    model = adapt(base, settings, head).model.eval()
    found = behaviour(model, head, TEXTS[:2]).vectors
    assert found is not None
    for text, vector_H in zip(TEXTS, found, strict=False):
        with torch.no_grad():
            states_1TH = model(input_ids=torch.tensor([text]), output_hidden_states=True).hidden_states[-1]
        assert states_1TH.shape[1] == 4 + len(text)
        np.testing.assert_allclose(vector_H, states_1TH[0, 4:].mean(0), atol=1e-6)
