"""The maximum length of a row is read from the model, and longer rows fail in the model."""

from typing import Any

import pytest
import torch
import transformers

from orchestrator.core.data import Origin, Source
from orchestrator.core.errors import ModelError
from orchestrator.training.checks.positions import position_bound, require_positions

SOURCE = Source(origin=Origin.HUB, name="org/model")
SMALL: dict[str, Any] = {
    "vocab_size": 40,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 20,
    "pad_token_id": 1,
    "eos_token_id": 2,
}
DECODERS = {"num_attention_heads": 2, "hidden_size": 16, "rotary_dim": 8, "max_seq_len": 20, "vocab_size": 40}
BART = {
    "vocab_size": 40,
    "d_model": 16,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "max_position_embeddings": 20,
}


@pytest.mark.parametrize(
    ("kind", "settings", "bound"),
    [
        ("bert", SMALL, 20),
        ("roberta", SMALL, 18),  # positions start after the id of the padding token
        ("ibert", SMALL, 18),
        ("nystromformer", SMALL, 20),
        ("opt", SMALL | {"ffn_dim": 16, "word_embed_proj_dim": 16}, 20),
        ("gpt2", DECODERS | {"n_positions": 20, "num_hidden_layers": 1}, 20),
        ("gptj", DECODERS | {"n_positions": 20, "num_hidden_layers": 1, "bos_token_id": 1, "eos_token_id": 2}, 20),
        ("mpt", DECODERS | {"n_layers": 1, "d_model": 16, "n_heads": 2}, 20),
        ("bart", BART, 20),
    ],
)
def test_rows_longer_than_the_bound_fail(kind: str, settings: dict[str, Any], bound: int) -> None:
    config = transformers.AutoConfig.for_model(kind, **settings)
    model = transformers.AutoModelForSequenceClassification.from_config(config).eval()
    assert position_bound(model) == bound

    def forward(length: int) -> None:
        ids_1T = torch.full((1, length), 5)
        ids_1T[0, -1] = 2
        with torch.inference_mode():
            model(input_ids=ids_1T, attention_mask=torch.ones_like(ids_1T))

    forward(bound)
    with pytest.raises((RuntimeError, IndexError)):
        forward(bound + 1)
    assert require_positions(SOURCE, model, bound) == []
    with pytest.raises(ModelError, match=f"data.max_length: at most {bound} tokens fit .*got {bound + 1}. Set "):
        require_positions(SOURCE, model, bound + 1)


@pytest.mark.parametrize("kind", ["llama", "nomic_bert"])
def test_computed_positions_give_only_a_note(kind: str) -> None:
    config = transformers.AutoConfig.for_model(kind, **SMALL)
    model = transformers.AutoModelForSequenceClassification.from_config(config)
    assert position_bound(model) is None
    assert require_positions(SOURCE, model, 20) == []
    (note,) = require_positions(SOURCE, model, 21)
    assert "data.max_length is 21, the model was trained on rows of 20 tokens (max_position_embeddings)" in note


def test_relative_positions_have_neither() -> None:
    config = transformers.T5Config(vocab_size=40, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
    assert require_positions(SOURCE, transformers.T5ForConditionalGeneration(config), 1_000_000) == []
