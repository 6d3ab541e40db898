"""Write a tiny random model of any model family of transformers with a supported head.

A family's own configuration is made small by the names of its fields. What cannot be built so is listed, with the
reason.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestrator.objective.protocol import Head
from tests.fakes.tiny_models import ENCODER, SPECIAL, VOCAB, save_tokenizer

MAPPINGS = {
    Head.SEQUENCE_CLASSIFICATION: "MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING",
    Head.TOKEN_CLASSIFICATION: "MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING",
    Head.CAUSAL_LM: "MODEL_FOR_CAUSAL_LM_MAPPING",
    Head.SEQ2SEQ_LM: "MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING",
}
MOST_PARAMETERS = 3_000_000
_VOCAB = len(dict.fromkeys((*SPECIAL, *VOCAB)))

_SIZES: tuple[tuple[str, int], ...] = (
    (r"(vocab_size|num_embeddings|vocab_size_per_layer_input)", _VOCAB),
    (r"(hidden_size|d_model|n_embd|dim|d_embed|emb_dim|embedding_size|embed_dim|width|word_embed_proj_dim)", 32),
    (r"(hidden_size_per_layer_input|output_hidden_size|hidden_size_per_layer|input_embedding_per_head)", 16),
    (r"(true_hidden_size|intra_bottleneck_size)", 32),
    (r"(\w*num_hidden_layers|n_layers?|num_layers|\w*_layers|depth|num_encoder_layers|num_decoder_layers)", 2),
    (r"(\w*num_attention_heads|n_heads?|num_heads|\w*attention_heads|num_query_heads)", 4),
    (r"(num_key_value_heads|num_kv_heads|multi_query_group_num|swa_num_key_value_heads)", 2),
    (r"(head_dim|d_kv|attention_head_size|global_head_dim|swa_head_dim|d_head)", 8),
    (r"(\w*intermediate_size\w*|d_ff|\w*ffn_dim|n_inner|d_inner|dff|ffn_hidden_size|hidden_dim|ffn_size)", 64),
    (r"(num_experts|n_routed_experts|num_local_experts|moe_num_experts|num_routed_experts|n_experts)", 8),
    (r"(num_experts_per_tok|moe_topk|num_selected_experts|moe_top_k|moe_k|experts_per_token)", 2),
    (r"(n_shared_experts|num_shared_experts|n_group|topk_group|num_expert_groups|first_k_dense_replace)", 1),
    (r"(q_lora_rank|kv_lora_rank|index_topk|o_lora_rank|mamba_dt_rank|time_step_rank)", 16),
    (r"(qk_rope_head_dim|qk_nope_head_dim|v_head_dim|index_head_dim|qk_head_dim)", 8),
    (r"(index_n_heads|mamba_n_heads|mamba_num_heads|linear_num_key_heads|linear_num_value_heads)", 4),
    (r"(\w*state_size|\w*d_state|mamba_n_groups|mamba_ngroups|n_groups|ssm_state_size)", 8),
    (r"(linear_key_head_dim|linear_value_head_dim|mamba_d_head|mamba_head_dim|mamba_headdim)", 16),
    (r"(max_position_embeddings|n_positions|max_seq_len|max_sequence_length|max_source_positions)", 256),
    (r"(max_target_positions|max_encoder_position_embeddings|max_decoder_position_embeddings)", 256),
    (r"(num_mtp_modules|num_nextn_predict_layers)", 0),
)
_TOKENS = {"pad_token_id": 0, "bos_token_id": 5, "eos_token_id": 6, "decoder_start_token_id": 0, "sep_token_id": 3}
ENDS = "$A </s>"
_SCALES = ("initializer_range", "init_std", "initializer_factor")
"""A large initial range, for attention scores of realistic size."""


class NotBuiltError(Exception):
    """A tiny model of a family cannot be built; the message has the reason."""


def families() -> list[tuple[str, Head]]:
    """Return all pairs of a model type and a supported head."""
    from transformers.models.auto import modeling_auto

    return [(name, head) for head, mapping in MAPPINGS.items() for name in getattr(modeling_auto, f"{mapping}_NAMES")]


def tiny_family(name: str, head: Head, folder: Path, seed: int = 0, **changes: Any) -> Path:
    """Save a tiny random model of a family and a tokenizer; return the folder.

    Raises:
        NotBuiltError: it cannot be made small so.
    """
    import torch
    from transformers.models.auto import modeling_auto
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    try:
        config_class = CONFIG_MAPPING[name]
        config = small_config(config_class, changes | CHANGES.get(name, {}))
        if head is Head.SEQUENCE_CLASSIFICATION:
            config.num_labels = 2
        if head is Head.TOKEN_CLASSIFICATION:
            config.num_labels, config.classifier_dropout = 3, 0.0  # decoders have 0.1 without this setting
        if getattr(config, "is_encoder_decoder", False) and getattr(config, "decoder_start_token_id", None) is None:
            config.decoder_start_token_id = 0
        if name == "encoder-decoder":
            config.decoder.is_decoder = config.decoder.add_cross_attention = True
        if name == "reformer":
            config.is_decoder = head is Head.CAUSAL_LM
        kind = getattr(modeling_auto, MAPPINGS[head])[config_class]
        kind = kind[0] if isinstance(kind, list | tuple) else kind
        with torch.device("meta"):
            size = sum(parameter.numel() for parameter in kind(config).parameters())
    except Exception as error:  # a constructor of transformers may raise anything
        raise NotBuiltError(f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}") from error
    if size > MOST_PARAMETERS:
        raise NotBuiltError(f"{size / 1e6:.0f} million parameters")
    template = {Head.SEQ2SEQ_LM: ENDS, Head.CAUSAL_LM: None}.get(head, ENCODER)
    if head is Head.SEQUENCE_CLASSIFICATION and getattr(config, "is_encoder_decoder", False):
        template = ENDS  # the head reads the last token
    save_tokenizer(folder, VOCAB, template=template)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            kind(config).save_pretrained(folder)
        except Exception as error:  # a constructor of transformers may raise anything
            raise NotBuiltError(
                f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
            ) from error
    return folder


CHANGES: dict[str, dict[str, Any]] = {
    "bamba": {"attn_layer_indices": [1], "mamba_n_heads": 4, "mamba_n_groups": 1},
    "codegen": {"rotary_dim": 8},
    "deepseek_v2": {"n_group": 1, "topk_group": 1, "topk_method": "greedy", "num_experts_per_tok": 2},
    "dots1": {"n_routed_experts": 8, "num_experts_per_tok": 2, "n_shared_experts": 1},
    "esm": {"vocab_size": _VOCAB, "mask_token_id": 4, "position_embedding_type": "rotary"},
    "esmc": {"num_key_value_heads": 4},
    "falcon_h1": {"mamba_d_ssm": 64, "mamba_n_heads": 4, "mamba_d_head": 16, "mamba_n_groups": 1},
    "fsmt": {"src_vocab_size": _VOCAB, "tgt_vocab_size": _VOCAB},
    "gptj": {"rotary_dim": 8},
    "granitemoehybrid": {"layer_types": ["mamba", "attention"], "mamba_n_heads": 4, "mamba_n_groups": 1},
    "hunyuan_v1_dense": {"head_dim": 8, "num_key_value_heads": 2},
    "hunyuan_v1_moe": {"head_dim": 8, "num_key_value_heads": 2},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1, "use_mamba_kernels": False},
    "layoutlmv3": {"coordinate_size": 5, "shape_size": 6, "visual_embed": False},
    "led": {"max_decoder_position_embeddings": 256, "attention_window": [8, 8]},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"], "num_dense_layers": 1},
    "lilt": {"hidden_size": 48, "channel_shrink_ratio": 4},
    "longcat_flash": {"zero_expert_num": 1},
    "longformer": {"attention_window": [8, 8]},
    "luke": {"entity_vocab_size": 16, "entity_emb_size": 16},
    "mamba2": {"num_heads": 4, "head_dim": 16, "n_groups": 1},
    "ministral": {"head_dim": 8},
    "mistral4": {"num_key_value_heads": 4},
    "nemotron": {"head_dim": 8, "num_key_value_heads": 2},
    "nemotron_h": {
        "layers_block_type": ["mamba", "attention"],
        "mamba_num_heads": 4,
        "n_groups": 1,
        "use_mamba_kernels": False,
    },
    "recurrent_gemma": {"block_types": ["recurrent", "attention"], "num_key_value_heads": 2},
    "reformer": {
        "axial_pos_embds": False,
        "attn_layers": ["local", "local"],
        "local_attn_chunk_length": 8,
        "num_hidden_layers": 2,
        "is_decoder": True,
    },
    "roc_bert": {"pronunciation_vocab_size": 16, "shape_vocab_size": 16},
    "xmod": {"default_language": "en_XX"},
    "zamba": {"layers_block_type": ["mamba", "hybrid"], "n_mamba_heads": 2, "use_mamba_kernels": False},
    "zamba2": {
        "layers_block_type": ["mamba", "hybrid"],
        "n_mamba_heads": 4,
        "mamba_headdim": 16,
        "num_mem_blocks": 1,
        "use_mamba_kernels": False,
    },
}
"""Further settings of a family, consistent with small sizes."""


def small_config(config_class: Any, changes: Mapping[str, Any] | None = None) -> Any:
    """Return a small configuration of a class, with small parts such as ``text_config``."""
    plain = config_class()
    given: dict[str, Any] = {}
    for name, value in plain.to_dict().items():
        part = getattr(plain, name, None)
        if hasattr(part, "to_dict") and name in getattr(config_class, "sub_configs", {}):
            given[name] = small_config(type(part)).to_dict()
        elif name in _TOKENS and (value is not None or name == "pad_token_id"):
            given[name] = _TOKENS[name]
        elif name in _SCALES and isinstance(value, float):
            given[name] = 0.2 if value < 0.5 else value
        elif isinstance(value, int) and not isinstance(value, bool):
            size = next((size for pattern, size in _SIZES if re.fullmatch(pattern, name)), None)
            if size is not None:
                given[name] = min(value, size) if value > 0 else value
        elif isinstance(value, float) and (
            "dropout" in name or name.endswith(("_pdrop", "_jitter_noise", "layerdrop"))
        ):
            given[name] = 0.0
        elif isinstance(value, list) and _layers(plain) and len(value) == _layers(plain):
            given[name] = _some(value)
    if "kv_lora_rank" in given and "num_key_value_heads" in given:  # latent attention expands to all heads
        given["num_key_value_heads"] = given["num_attention_heads"]
    return config_class(**(given | dict(changes or {})))


def _layers(config: Any) -> int:
    return next((n for name in ("num_hidden_layers", "num_layers") if (n := getattr(config, name, 0))), 0)


def _some(values: list[Any]) -> list[Any]:
    """Return two entries of a list with one entry per layer, different ones if possible."""
    other = next((value for value in values if value != values[0]), values[0])
    return [values[0], other]
