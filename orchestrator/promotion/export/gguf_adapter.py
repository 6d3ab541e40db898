"""Exports a LoRA adapter as a GGUF file for llama.cpp, beside its PEFT folder.

llama.cpp adds alpha / rank · B A x to the output of a linear layer. The layout is that of its converter
``convert_lora_to_gguf.py``: metadata ``general.type = adapter``, ``adapter.type = lora``, ``adapter.lora.alpha``; the
tensors ``blk.N.attn_q.weight.lora_a`` (rank × inputs) and ``….lora_b`` (outputs × rank), in float32.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING

from orchestrator.core.errors import UserError
from orchestrator.promotion.export.peft_folder import export_folder
from orchestrator.tracking.cards.model_card import GateLine
from orchestrator.tracking.logged_models.adapters import CONFIG, AdapterCard
from orchestrator.training.model.adapters import WEIGHTS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from peft import LoraConfig
    from transformers import PretrainedConfig

FILE = "adapter.gguf"
ARCHITECTURES: Mapping[str, str] = {"llama": "llama", "mistral": "llama", "qwen2": "qwen2", "qwen3": "qwen3"}
"""llama.cpp's name of an architecture by transformers' ``model_type``."""
PERMUTED = ("llama",)
"""llama.cpp's architectures with reordered rows of the query and key weights; its rotary embedding pairs neighbours."""
_PREFIX = "base_model.model."


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerAdapter:
    """The adapter of one linear layer, as PEFT stores it.

    Attributes:
        a: A, rank × inputs.
        b: B, outputs × rank.
        scale: factor of B A.
    """

    a: "NDArray[np.float32]"
    b: "NDArray[np.float32]"
    scale: float


def export_gguf(
    adapter: Path, card: AdapterCard, target: Path, *, plain_scaling: bool = False, gates: Sequence[GateLine] = ()
) -> Path:
    """Write an adapter as ``export_folder`` does, with the file ``adapter.gguf``; return the folder.

    Args:
        adapter: the folder of the adapter.
        card: its card.
        target: the folder; it is created if it does not exist.
        plain_scaling: as for ``export_folder``; the GGUF file is the same.
        gates: the gates of its promotion, for the README.

    Raises:
        UserError: llama.cpp cannot use the adapter, or ``target`` is not empty.
        ModelError: plain peft does not load the complete adapter.
    """
    from transformers import AutoConfig

    _require_lora(json.loads((adapter / CONFIG).read_text(encoding="utf-8")), card)
    base = AutoConfig.from_pretrained(card.base_path, revision=card.base.revision)
    if base.model_type not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise UserError(
            f"--gguf: Loratory does not know the GGUF layout of {base.model_type} (known: {known}); export with "
            "--merge and convert that folder with llama.cpp's convert_hf_to_gguf.py"
        )
    export_folder(adapter, card, target, plain_scaling=plain_scaling, gates=gates)
    try:
        write_gguf(target, base)
    except BaseException:  # also on an interrupt: an incomplete export looks like a complete one
        rmtree(target, ignore_errors=True)
        raise
    return target


def write_gguf(folder: Path, base: "PretrainedConfig") -> Path:
    """Write ``adapter.gguf`` to a PEFT folder with a LoRA adapter; return the file.

    GGUF has one alpha for all layers. It is that of the adapter's own rank with its scaling, so rsLoRA's factor is part
    of it; a layer with another scaling (``rank_pattern``, ``alpha_pattern``) has the rest in its B.

    Args:
        folder: the adapter.
        base: configuration of its base model; its ``model_type`` is one of ``ARCHITECTURES``.

    Raises:
        UserError: a layer of the adapter has no place in llama.cpp's model.
    """
    import gguf
    from peft import LoraConfig

    config = LoraConfig.from_pretrained(str(folder))
    alpha = _scale(config, config.r, config.lora_alpha) * config.r
    architecture = ARCHITECTURES[base.model_type]
    writer = gguf.GGUFWriter(folder / FILE, architecture)
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, alpha)
    for name, layer in _layers(folder, config).items():
        tensor, b = _tensor_name(name, architecture, base), layer.b
        rest = layer.scale / (alpha / layer.a.shape[0])
        if not math.isclose(rest, 1.0, rel_tol=1e-9):
            b = b * rest
        if architecture in PERMUTED and name.endswith((".q_proj", ".k_proj")):
            heads = base.num_attention_heads if name.endswith(".q_proj") else base.num_key_value_heads
            b = interleaved(b, heads)
        writer.add_tensor(f"{tensor}.lora_a", layer.a)
        writer.add_tensor(f"{tensor}.lora_b", b)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return folder / FILE


def interleaved(weight: "NDArray[np.float32]", heads: int) -> "NDArray[np.float32]":
    """Return the rows of a query or key weight in llama.cpp's order.

    The rotary embedding of transformers pairs row i of a head with row i + half, that of llama.cpp rows 2 i and
    2 i + 1.

    Args:
        weight: outputs × any.
        heads: number of heads in the outputs.
    """
    import numpy as np

    halves = weight.reshape(heads, 2, weight.shape[0] // heads // 2, *weight.shape[1:])
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(weight.shape))


def _layers(folder: Path, config: "LoraConfig") -> dict[str, LayerAdapter]:
    """Return the adapter of each layer by the layer's path in the base model."""
    from peft.utils.other import get_pattern_key
    from safetensors.numpy import load_file

    tensors = {name.removeprefix(_PREFIX): tensor for name, tensor in load_file(folder / WEIGHTS).items()}
    ranks, alphas = config.rank_pattern or {}, config.alpha_pattern or {}
    layers = {}
    for name in tensors:
        if name.endswith(".lora_B.weight"):
            continue
        path, found, _ = name.partition(".lora_A.weight")
        if not found:
            raise UserError(f"--gguf: llama.cpp has no place for the adapter's weight {name}; export with --merge")
        rank = ranks.get(get_pattern_key([*ranks], path), config.r)
        alpha = alphas.get(get_pattern_key([*alphas], path), config.lora_alpha)
        a, b = (tensors[f"{path}.lora_{side}.weight"].astype("float32") for side in "AB")
        layers[path] = LayerAdapter(a=a, b=b, scale=_scale(config, rank, alpha))
    return layers


def _scale(config: "LoraConfig", rank: int, alpha: float) -> float:
    return alpha / (math.sqrt(rank) if config.use_rslora else rank)


def _tensor_name(path: str, architecture: str, base: "PretrainedConfig") -> str:
    """Return llama.cpp's name of a layer's weight.

    Raises:
        UserError: it has none.
    """
    import gguf

    kinds = {name: kind for kind, name in gguf.MODEL_ARCH_NAMES.items()}
    names = gguf.get_tensor_name_map(kinds[architecture], base.num_hidden_layers)
    name = names.get_name(f"{path}.weight", try_suffixes=(".weight",))
    if name is None or (name == "output.weight" and base.tie_word_embeddings):
        raise UserError(
            f"--gguf: llama.cpp has no weight of its own for {path}; train with adapter.target_modules: all-linear"
        )
    return name


def _require_lora(config: Mapping[str, object], card: AdapterCard) -> None:
    """Raise ``UserError`` unless llama.cpp can use the adapter."""
    if card.head != "causal_lm":
        raise UserError(
            f"--gguf: llama.cpp runs adapters of causal language models, this one has the head {card.head}; "
            "export without --gguf"
        )
    method = config.get("peft_type")
    if method != "LORA" or config.get("use_dora"):
        name = "DoRA" if method == "LORA" else method
        raise UserError(f"--gguf: llama.cpp knows LoRA adapters, this one is {name}; export with --merge")
    extra = [name for name in ("modules_to_save", "trainable_token_indices") if config.get(name)]
    if config.get("bias") not in (None, "none"):
        extra.append("bias")
    if extra:
        raise UserError(f"--gguf: a GGUF adapter has no place for {', '.join(extra)}; export with --merge")
