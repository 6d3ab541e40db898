"""Writes a merged model as one GGUF file for llama.cpp, in float32.

The names of the weights are those of the package ``gguf``. The rows of the query and key weights are in llama.cpp's
order for the architecture ``llama`` (see ``gguf_adapter.interleaved``).
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING, Any

from orchestrator.core.errors import UserError
from orchestrator.promotion.export.gguf_adapter import ARCHITECTURES, PERMUTED, interleaved
from orchestrator.promotion.export.gguf_tokenizer import add_tokenizer
from orchestrator.promotion.export.merge import export_merged
from orchestrator.promotion.export.peft_folder import new_folder
from orchestrator.tracking.cards.model_card import GateLine, merged_card
from orchestrator.tracking.logged_models.adapters import AdapterCard

if TYPE_CHECKING:
    import numpy as np
    from gguf import GGUFWriter
    from numpy.typing import NDArray
    from transformers import PretrainedConfig, PreTrainedModel

MODEL = "model.gguf"
_USE = f"With llama.cpp; the weights are in float32.\n\n```sh\nllama-cli -m {MODEL}\n```"


def export_merged_gguf(adapter: Path, card: AdapterCard, target: Path, gates: Sequence[GateLine] = ()) -> Path:
    """Write the base model with the adapter merged into its weights as ``model.gguf``, and a README; return the folder.

    The merged model is first written as for ``export_merged``, with its comparison of logits.

    Args:
        adapter: a staged adapter.
        card: its card; ``base_path`` is the base model on this machine.
        target: a new or empty folder.
        gates: the gates of its promotion, for the README.

    Raises:
        UserError: llama.cpp cannot run the model, or the tokenizer cannot be carried exactly; or as ``export_merged``.
        ModelError: the merged model has other logits.
    """
    from transformers import AutoConfig

    if card.head != "causal_lm":
        raise UserError(
            f"--merge --gguf: llama.cpp runs causal language models, this one has the head {card.head}; export with "
            "--merge only"
        )
    require_known(AutoConfig.from_pretrained(card.base_path, revision=card.base.revision))
    with new_folder(target):
        merged = target / "merged"
        export_merged(adapter, card, merged)
        write_model(merged, target / MODEL)
        rmtree(merged)
        (target / "README.md").write_text(merged_card(card, gates, _USE), encoding="utf-8")
    return target


def write_model(folder: Path, file: Path) -> Path:
    """Write the model of a folder of plain transformers as a GGUF file in float32; return the file.

    Args:
        folder: the model with its tokenizer.
        file: the new file; no incomplete one is left behind by an error.

    Raises:
        UserError: llama.cpp cannot run the model, or the tokenizer cannot be carried exactly.
    """
    import gguf
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    config, architecture = model.config, require_known(model.config)
    writer = gguf.GGUFWriter(file, architecture)
    try:
        add_tokenizer(writer, folder, tokenizer, config.vocab_size)
        _add_shape(writer, config)
        for name, weight in _weights(model, architecture):
            writer.add_tensor(name, weight)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    except BaseException:  # also on an interrupt: an incomplete file looks like a complete one
        writer.close()
        file.unlink(missing_ok=True)
        raise
    writer.close()
    return file


def require_known(config: "PretrainedConfig") -> str:
    """Return llama.cpp's name of a model's architecture.

    Raises:
        UserError: the architecture or a part of it is not supported.
    """
    reason = None
    if config.model_type not in ARCHITECTURES:
        reason = f"Loratory does not know the GGUF layout of {config.model_type} (known: {', '.join(ARCHITECTURES)})"
    elif config.hidden_act != "silu":
        reason = f"llama.cpp computes the activation silu for {config.model_type}, this model has {config.hidden_act}"
    elif (kind := _rope(config)["rope_type"]) != "default" and not (kind == "llama3" and config.model_type == "llama"):
        reason = f"Loratory does not know the scaling {kind} of rotary embeddings"
    if reason is not None:
        raise UserError(
            f"--merge --gguf: {reason}; export with --merge only and convert that folder with llama.cpp's "
            "convert_hf_to_gguf.py"
        )
    return ARCHITECTURES[config.model_type]


def _rope(config: Any) -> dict[str, Any]:  # noqa: ANN401  (configurations differ by model)
    return {"rope_type": "default", **config.rope_parameters}


def _head_size(config: Any) -> int:  # noqa: ANN401  (configurations differ by model)
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)


def _add_shape(writer: "GGUFWriter", config: Any) -> None:  # noqa: ANN401  (configurations differ by model)
    """Add the sizes of a model. Beyond a sliding window llama.cpp would differ, so the context ends there."""
    import gguf

    windowed = config.model_type == "mistral" or getattr(config, "use_sliding_window", False)
    window = getattr(config, "sliding_window", None) if windowed else None
    writer.add_context_length(min(config.max_position_embeddings, window or config.max_position_embeddings))
    writer.add_vocab_size(config.vocab_size)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(_head_size(config))
    writer.add_value_length(_head_size(config))
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(_rope(config)["rope_theta"])
    writer.add_rope_dimension_count(_head_size(config))
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)


def _weights(model: "PreTrainedModel", architecture: str) -> "Iterator[tuple[str, NDArray[np.float32]]]":
    """Yield llama.cpp's name and values of each weight.

    Raises:
        UserError: a weight has no place in llama.cpp's model.
    """
    import gguf

    config: Any = model.config
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    kinds = {name: kind for kind, name in gguf.MODEL_ARCH_NAMES.items()}
    names = gguf.get_tensor_name_map(kinds[architecture], config.num_hidden_layers)
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        weight, projection = tensor.numpy(), name.split(".")[-2]
        if architecture in PERMUTED and projection in heads:
            weight = interleaved(weight, heads[projection])
        its_name = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if its_name is None:
            raise UserError(f"--merge --gguf: llama.cpp has no place for {name}; export with --merge only")
        yield its_name, weight
    if _rope(config)["rope_type"] == "llama3":
        yield gguf.TENSOR_NAMES[gguf.MODEL_TENSOR.ROPE_FREQS] + ".weight", _frequency_factors(config)


def _frequency_factors(config: Any) -> "NDArray[np.float32]":  # noqa: ANN401  (configurations differ by model)
    """Return the divisors of the rotary frequencies of a scaled model, shape (head size / 2,)."""
    import numpy as np
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    scaled, _ = ROPE_INIT_FUNCTIONS["llama3"](config, device=None)
    exponents = np.arange(0, _head_size(config), 2) / _head_size(config)
    factors: NDArray[np.float32] = (_rope(config)["rope_theta"] ** -exponents / scaled.numpy()).astype(np.float32)
    return factors
