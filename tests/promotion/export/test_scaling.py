"""rsLoRA adapters exported for programs with the scaling alpha / rank: equal logits."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from orchestrator.core.data import Origin, Source
from orchestrator.core.errors import UserError
from orchestrator.core.space import ParamValue
from orchestrator.core.trials.settings import TrialSettings
from orchestrator.promotion.export.peft_folder import export_adapter, with_plain_scaling
from orchestrator.tracking.logged_models.adapters import CONFIG, read_card
from orchestrator.training.model.adapters import adapt, save_adapter
from orchestrator.training.model.base_model import load_base
from tests.fakes.tiny_models import tiny_gpt2, tiny_llama, tiny_mixtral, without_dropout
from tests.fakes.tiny_objective import TinyCausal
from tests.plain_peft import PlainPeft
from tests.promotion.conftest import Tracked
from tests.tracking.trained import LABELS, TEXTS

OBJECTIVE = TinyCausal()
IDS = torch.arange(5, 25)[None]


def logits(folder: Path, adapter: Path) -> torch.Tensor:
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(folder), str(adapter)).eval()
    with torch.no_grad():
        found: torch.Tensor = model(IDS).logits
    return found


@pytest.mark.parametrize(
    ("write", "settings"),
    [
        (tiny_llama, {"rank": 4, "alpha": 8.0}),
        (tiny_llama, {"rank": 6, "alpha": 5.0}),
        (tiny_llama, {"rank": 3, "alpha": 0.1, "init": "pissa", "target_modules": "q_proj,down_proj"}),
        (tiny_gpt2, {"rank": 7, "alpha": 16.0, "dora": True}),
        (tiny_mixtral, {"rank": 5, "alpha": 9.0}),
    ],
)
def test_plain_scaling_has_equal_outputs(
    write: Callable[[Path], Path], settings: dict[str, ParamValue], tmp_path: Path
) -> None:
    folder, adapter = without_dropout(write(tmp_path / "model")), tmp_path / "adapter"
    torch.manual_seed(0)
    base = load_base(Source(origin=Origin.LOCAL, name=str(folder)), OBJECTIVE, "cpu")
    adapted = adapt(base, TrialSettings.from_params({**settings, "rslora": True}), OBJECTIVE.head)
    with torch.no_grad():
        for parameter in adapted.model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))
    save_adapter(adapted, adapter)
    expected = logits(folder, adapter)
    written = json.loads((adapter / CONFIG).read_text())
    assert written["use_rslora"]
    plain = with_plain_scaling(written)
    assert plain["use_rslora"] is False
    assert plain["lora_alpha"] / plain["r"] == pytest.approx(written["lora_alpha"] / math.sqrt(written["r"]))
    (adapter / CONFIG).write_text(json.dumps(plain))
    torch.testing.assert_close(logits(folder, adapter), expected, rtol=0, atol=1e-5)
    (adapter / CONFIG).write_text(json.dumps({**written, "use_rslora": False}))
    assert (logits(folder, adapter) - expected).abs().max() > 1e-4  # without the conversion


def test_patterns_of_single_layers_are_converted() -> None:
    config: dict[str, Any] = {"r": 4, "lora_alpha": 8, "use_rslora": True, "target_modules": ["q", "k", "v"]}
    found = with_plain_scaling({**config, "rank_pattern": {"q": 9}, "alpha_pattern": {"k": 3.0}})
    assert found["lora_alpha"] == 16.0
    assert found["alpha_pattern"] == {"q": 24.0, "k": 6.0}
    assert (found["rank_pattern"], found["target_modules"]) == ({"q": 9}, ["q", "k", "v"])
    plain = {**config, "use_rslora": False}
    assert with_plain_scaling(plain) == plain


def test_rslora_export_warns_unless_converted(tracked: Tracked, tmp_path: Path, plain_peft: PlainPeft) -> None:
    candidate = tracked.candidates().choose(0)
    base = tracked.trained.adapters.base_path
    own = tmp_path / "own"
    export_adapter(replace(candidate, card=replace(candidate.card, rslora=True)), own)
    config = json.loads((own / CONFIG).read_text())
    (own / CONFIG).write_text(json.dumps({**config, "use_rslora": True}))
    rslora = replace(candidate, adapter=own, card=replace(candidate.card, rslora=True))
    readme = (own / "README.md").read_text()
    assert "llama.cpp and SGLang ignore this" in readme
    assert "`python -m orchestrator export films#1 DIR --trial 0 --plain-scaling`" in readme
    expected = plain_peft.classify(own, base, TEXTS, len(LABELS))
    (own / "README.md").unlink()

    plain = export_adapter(rslora, tmp_path / "plain", plain_scaling=True)
    written = json.loads((plain / CONFIG).read_text())
    assert (written["use_rslora"], written["r"], written["lora_alpha"]) == (False, 4, 16.0)
    assert "SGLang" not in (plain / "README.md").read_text()
    assert read_card(plain).rslora is False
    for row, other in zip(plain_peft.classify(plain, base, TEXTS, len(LABELS)), expected, strict=True):
        assert row == pytest.approx(other, abs=1e-5)
    assert "SGLang" not in (export_adapter(candidate, tmp_path / "other") / "README.md").read_text()


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"method": "full"}, "full fine-tuning has no adapter"),
        ({"method": "loha"}, "this adapter has the method loha"),
        ({"head": "function"}, "a function trained this model"),
    ],
)
def test_plain_scaling_of_other_methods_is_refused(
    fields: dict[str, str], named: str, tracked: Tracked, tmp_path: Path
) -> None:
    candidate = tracked.candidates().choose(0)
    other = replace(candidate, card=replace(candidate.card, **fields))  # type: ignore[arg-type]  # texts by field
    with pytest.raises(UserError, match=rf"--plain-scaling .* of the method lora, but {named}.*; export without"):
        export_adapter(other, tmp_path / "out", plain_scaling=True)
    assert not (tmp_path / "out").exists()
