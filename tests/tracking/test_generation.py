"""Generation stops at the model's last position without an error."""

from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import GPT2Config, GPT2LMHeadModel

from orchestrator.tracking.logged_models.adapter_model import AdapterRunner
from orchestrator.tracking.logged_models.staging import stage_adapter
from tests.fakes.odd_models import END_ID, PIECES, save_tokenizer
from tests.tracking.cards import made_card


@pytest.mark.parametrize("words", [3, 40])
def test_answer_fits_the_models_positions(words: int, tmp_path: Path) -> None:
    base = tmp_path / "base"
    save_tokenizer(base, {"eos_token": "<end>", "pad_token": "[PAD]"})
    config = GPT2Config(
        vocab_size=len(PIECES), n_embd=16, n_layer=1, n_head=2, n_positions=24, eos_token_id=END_ID, pad_token_id=0
    )
    torch.manual_seed(0)
    model = GPT2LMHeadModel(config)
    with torch.no_grad():
        model.transformer.wte.weight[END_ID] = 0.0  # never the most likely token
    model.save_pretrained(base)
    get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", r=2)).save_pretrained(str(tmp_path / "adapter"))
    card = made_card(base, head="causal_lm", labels=(), max_length=24)
    runner = AdapterRunner(stage_adapter(tmp_path / "adapter", card, tmp_path / "staged"))
    text = " ".join(["film"] * words)
    (answer,) = runner.generate([text])
    assert 1 <= len(runner.tokenizer(answer.text)["input_ids"]) <= 24 - min(words, 24) + 1
    assert answer.cut
    assert runner.generate([text], max_new_tokens=1) == [(" ".join(answer.text.split()[:1]), True)]
    runner.card["max_new_tokens"] = 1
    assert runner.generate([text]) == runner.generate([text], max_new_tokens=1)
