"""Base models for measured steps, with their rows: the packaged encoder, and Llamas with random weights.

The rows of a Llama are random tokens of one length, and every token is a target. Its weights are saved once, in
bfloat16, in the folder for temporary files.
"""

import enum
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import datasets
import torch

from orchestrator.assets.models import resolve_model
from orchestrator.core.data import DataPlan, Origin, Source
from orchestrator.objective.language_modelling import CausalLM
from orchestrator.objective.loading import load_objective
from orchestrator.objective.protocol import Example, Objective, Splits

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

MADE_UP = Source(origin=Origin.LOCAL, name="made up")
VOCABULARY = 32_000
SHAPES = {
    "llama-1b": {
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
    },
    "llama-tiny": {
        "hidden_size": 64,
        "intermediate_size": 192,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    },
}


class BaseName(enum.StrEnum):
    """Names of the base models."""

    MINILM = "minilm"
    LLAMA_1B = "llama-1b"
    LLAMA_TINY = "llama-tiny"


class RandomTokens(CausalLM):
    """Predict random tokens: rows have the cost of their length, and nothing can be learned from them."""

    name = "random-tokens"
    target = "target"
    default_source = MADE_UP

    def splits(self, plan: DataPlan) -> Splits:
        """Return row numbers; ``encode`` turns them into tokens."""
        parts = (plan.train or 64, plan.validation, plan.test)
        train, validation, test = (datasets.Dataset.from_dict({"row": [*range(count)]}) for count in parts)
        return Splits(train=train, validation=validation, test=test, shift={})

    def encode(self, rows: datasets.Dataset, tokenizer: object, max_length: int) -> list[Example]:  # noqa: ARG002
        """Return rows of ``max_length`` tokens."""
        draws = [torch.Generator().manual_seed(row) for row in rows["row"][:]]
        ids = [torch.randint(3, VOCABULARY, (max_length,), generator=draw).tolist() for draw in draws]
        return [{"input_ids": row, "labels": row} for row in ids]


@dataclass(frozen=True, kw_only=True, slots=True)
class Workload:
    """A base model and its training rows.

    Attributes:
        model: source of the base model.
        objective: the task.
        data: its rows, with few rows for evaluation.
        max_length: largest number of tokens in a row.
        frozen_weights: weights multiplied with each token, without adapters.
        product_NIO: rows, inputs and outputs of a typical product of the layers.
    """

    model: Source
    objective: Objective
    data: DataPlan
    max_length: int
    frozen_weights: int
    product_NIO: tuple[int, int, int]


def workload(name: BaseName, sequence: int) -> Workload:
    """Return the workload of a base. MiniLM's rows keep their lengths; a Llama's rows have ``sequence`` tokens."""
    if name is BaseName.MINILM:
        model = Source(origin=Origin.PACKAGED, name=name.value)
        source, objective, length = Source(origin=Origin.PACKAGED, name="vader-movie"), load_objective("sentiment"), 64
    else:
        model = Source(origin=Origin.LOCAL, name=str(random_llama(name)))
        source, objective, length = MADE_UP, RandomTokens(), sequence
    config = _config(model)
    return Workload(
        model=model,
        objective=objective,
        data=DataPlan(source=source, train=2000, validation=16, test=16, train_eval=16),
        max_length=length,
        frozen_weights=_frozen_weights(config),
        product_NIO=(3456, config.hidden_size, config.intermediate_size),
    )


def random_llama(name: BaseName) -> Path:
    """Return the folder of a Llama with random weights and a tokenizer; create it if it is missing."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = Path(tempfile.gettempdir()) / "loratory-benchmarks" / name.value
    if (folder / "tokenizer_config.json").is_file():  # written last
        return folder
    special = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>"}
    ids = {token: index for index, token in enumerate(special.values())}
    shape: dict[str, Any] = SHAPES[name.value]
    config = LlamaConfig(
        **shape,
        vocab_size=VOCABULARY,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        pad_token_id=ids["<pad>"],
        bos_token_id=ids["<s>"],
        eos_token_id=ids["</s>"],
    )
    torch.manual_seed(0)
    model = LlamaForCausalLM(config)
    torch.nn.Module.to(model, torch.bfloat16)
    model.save_pretrained(folder)
    words = Tokenizer(WordLevel(ids, "<pad>"))
    PreTrainedTokenizerFast(tokenizer_object=words, **special).save_pretrained(folder)
    return folder


def _config(model: Source) -> "PreTrainedConfig":
    from transformers import AutoConfig

    config: PreTrainedConfig = AutoConfig.from_pretrained(resolve_model(model))
    return config


def _frozen_weights(config: "PreTrainedConfig") -> int:
    """Return the number of weights of the linear layers, with a language model's head and without a pooler."""
    from transformers import AutoModel, AutoModelForCausalLM

    auto: Any = AutoModelForCausalLM if config.model_type == "llama" else AutoModel
    with torch.device("meta"):
        model: torch.nn.Module = auto.from_config(config)
    layers = {name: module for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)}
    return sum(m.in_features * m.out_features for n, m in layers.items() if n == "lm_head" or re.search(r"\.\d+\.", n))
