"""Merged models as one GGUF file: llama.cpp's probabilities after a text are those of transformers."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from orchestrator.core.errors import UserError
from orchestrator.promotion.export.gguf_model import MODEL, export_merged_gguf, write_model
from orchestrator.promotion.export.gguf_tokenizer import splitting_rule
from orchestrator.tracking.logged_models.staging import stage_adapter
from tests.fakes.tiny_models import tiny_gpt2, tiny_llama
from tests.promotion.export.llama_cpp import next_token_log_probabilities
from tests.promotion.export.test_gguf import card_of, trained

TEXT = "It's 1234 films,\n\n  Übung and 東京 are good <|end|>don't"
CORPUS = [TEXT, "the film was good and the plot was bad", "12 345 numbers, names such as Anna"] * 3
WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
BYTES = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
SPLITS: dict[str, Any] = {
    "gpt-2": pre_tokenizers.ByteLevel(add_prefix_space=False),
    "smollm": pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    ),
    "qwen2": pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(WORDS + r"\p{N}" + REST), "isolated"), BYTES]),
    "llama-bpe": pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(WORDS + r"\p{N}{1,3}" + REST), "isolated"), BYTES]
    ),
}
SIZES = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "intermediate_size": 32,
    "max_position_embeddings": 256,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 10_000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}


def save_tokenizer(folder: Path, rule: str, *, bos: bool = False) -> int:
    """Save a byte-level BPE tokenizer with a splitting rule; return its number of tokens."""
    bpe = models.BPE(ignore_merges=rule == "llama-bpe")
    tokenizer = Tokenizer(bpe)
    tokenizer.pre_tokenizer, tokenizer.decoder = SPLITS[rule], decoders.ByteLevel()
    special = ["<|begin|>", "<|end|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=330,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    if bos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<|begin|> $A", special_tokens=[("<|begin|>", tokenizer.token_to_id("<|begin|>"))]
        )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=special[0], eos_token=special[1], model_max_length=128
    ).save_pretrained(folder)
    return int(tokenizer.get_vocab_size())


def model(folder: Path, family: str, rule: str, **settings: Any) -> Path:
    """Save a small random model with a tokenizer; its embedding has three rows without a token."""
    size = save_tokenizer(folder, rule, bos=rule == "llama-bpe") + 3
    kinds: dict[str, tuple[Any, Any]] = {
        "llama": (LlamaConfig, LlamaForCausalLM),
        "qwen2": (Qwen2Config, Qwen2ForCausalLM),
        "qwen3": (Qwen3Config, Qwen3ForCausalLM),
    }
    config, kind = kinds[family]
    torch.manual_seed(0)
    written = kind(config(vocab_size=size, bos_token_id=0, eos_token_id=1, **SIZES, **settings))
    with torch.no_grad():
        for parameter in written.parameters():
            parameter.copy_(parameter + 0.3 * torch.randn_like(parameter))  # also norms and biases
    written.save_pretrained(folder)
    return folder


def probabilities(folder: Path, text: str) -> list[float]:
    ids = AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        found: list[float] = AutoModelForCausalLM.from_pretrained(folder)(ids).logits[0, -1].log_softmax(-1).tolist()
    return found


@pytest.mark.parametrize(
    ("family", "rule", "settings"),
    [
        ("llama", "smollm", {"tie_word_embeddings": True}),
        ("llama", "llama-bpe", {"rope_parameters": LLAMA3, "attention_bias": True}),
        ("qwen2", "qwen2", {}),
        ("qwen3", "gpt-2", {"head_dim": 16}),
    ],
)
def test_llama_cpp_gives_probabilities_of_transformers(
    family: str, rule: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    folder = model(tmp_path / "model", family, rule, **settings)
    expected = probabilities(folder, TEXT)
    file = write_model(folder, tmp_path / MODEL)
    assert next_token_log_probabilities(file, None, TEXT, len(expected)) == pytest.approx(expected, abs=1e-4)


def test_export_holds_the_merged_model(tmp_path: Path) -> None:
    base = model(tmp_path / "model", "llama", "smollm")
    adapter = trained(base, tmp_path / "adapter", rank=4, alpha=8.0, rslora=True)
    staged = tmp_path / "staged"
    stage_adapter(adapter, card_of(base), staged)
    folder = export_merged_gguf(staged, card_of(base), tmp_path / "out")
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", MODEL]
    readme = (folder / "README.md").read_text()
    assert "llama-cli -m model.gguf" in readme
    assert "from_pretrained" not in readme  # the folder has nothing for transformers
    ids = AutoTokenizer.from_pretrained(base)(TEXT, return_tensors="pt")["input_ids"]
    adapted = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), str(adapter))
    with torch.no_grad():
        expected = adapted(ids).logits[0, -1].log_softmax(-1).tolist()
    found = next_token_log_probabilities(folder / MODEL, None, TEXT, len(expected))
    assert found == pytest.approx(expected, abs=1e-3)
    assert found != pytest.approx(probabilities(base, TEXT), abs=0.1)


def test_what_llama_cpp_cannot_run_is_refused(tmp_path: Path) -> None:
    llama = tiny_llama(tmp_path / "llama")
    with pytest.raises(UserError, match="tokenizer cannot be carried exactly: it is WordPiece, not byte-level BPE"):
        write_model(llama, tmp_path / MODEL)
    assert not (tmp_path / MODEL).exists()
    with pytest.raises(UserError, match="Loratory does not know the GGUF layout of gpt2"):
        export_merged_gguf(tmp_path, card_of(tiny_gpt2(tmp_path / "gpt2")), tmp_path / "out")
    with pytest.raises(UserError, match="the head sequence_classification; export with --merge only"):
        export_merged_gguf(tmp_path, card_of(llama, "sequence_classification"), tmp_path / "out")
    scaled = model(tmp_path / "scaled", "qwen2", "qwen2", rope_parameters={**LLAMA3, "rope_type": "yarn"})
    with pytest.raises(UserError, match="Loratory does not know the scaling yarn of rotary embeddings"):
        write_model(scaled, tmp_path / MODEL)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"normalizer": {"type": "Lowercase"}}, r"it normalizes texts \(Lowercase\)"),
        ({"pre_tokenizer": None}, "its rule to split a text has no name known here"),
        ({"model": {"type": "BPE", "byte_fallback": True}}, "it is SentencePiece"),
        ({"model": {"type": "BPE", "ignore_merges": True}}, "gpt-2 and its setting ignore_merges do not fit"),
        ({"added_tokens": [{"content": "<m>", "lstrip": True}]}, "its token '<m>' depends on the spaces around it"),
    ],
)
def test_tokenizer_is_refused_by_name(change: dict[str, Any], reason: str, tmp_path: Path) -> None:
    save_tokenizer(tmp_path, "gpt-2")
    stored = json.loads((tmp_path / "tokenizer.json").read_text())
    assert splitting_rule(stored) == "gpt-2"
    with pytest.raises(UserError, match=f"cannot be carried exactly: .*{reason}.*; export with --merge only"):
        splitting_rule(stored | change)
