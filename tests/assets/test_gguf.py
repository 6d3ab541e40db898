"""A GGUF model is dequantised to a plain folder with the same weights and tokens."""

from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from orchestrator.assets.gguf import dequantise

WIDTH, HIDDEN, HEADS, FILE = 32, 64, 2, "tiny.gguf"
TOKENS = ["<s>", "</s>", *map(chr, range(ord("a"), ord("z") + 1)), "ab", "cd"]
FORMAT = gguf.GGMLQuantizationType.Q4_1


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with a Llama of one layer in Q4_1."""
    return write_gguf(tmp_path)


def write_gguf(folder: Path) -> Path:
    """Write a Llama of one layer in Q4_1 to a folder and return it."""
    writer = gguf.GGUFWriter(folder / FILE, "llama")
    writer.add_context_length(64)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(1)
    writer.add_feed_forward_length(HIDDEN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(TOKENS))
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q4_1)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(TOKENS)
    writer.add_token_types([3, 3] + [1] * (len(TOKENS) - 2))
    writer.add_token_merges(["a b", "c d"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    draw = np.random.default_rng(0)
    shapes = {
        "attn_q": (WIDTH, WIDTH), "attn_k": (WIDTH, WIDTH), "attn_v": (WIDTH, WIDTH), "attn_output": (WIDTH, WIDTH),
        "ffn_gate": (HIDDEN, WIDTH), "ffn_up": (HIDDEN, WIDTH), "ffn_down": (WIDTH, HIDDEN),
    }  # fmt: skip
    matrices = {f"blk.0.{name}": shape for name, shape in shapes.items()}
    matrices |= {"token_embd": (len(TOKENS), WIDTH), "output": (len(TOKENS), WIDTH)}
    for name, shape in matrices.items():
        weights = draw.normal(size=shape).astype(np.float32)
        writer.add_tensor(f"{name}.weight", gguf.quants.quantize(weights, FORMAT), raw_dtype=FORMAT)
    for name in ("output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"):
        writer.add_tensor(f"{name}.weight", np.ones(WIDTH, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return folder


def test_plain_folder_keeps_weights_and_tokens(folder: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(dequantise(folder, FILE, folder / "plain"))
    stored = {tensor.name: tensor for tensor in gguf.GGUFReader(folder / FILE).tensors}["blk.0.ffn_up.weight"]
    expected = torch.from_numpy(gguf.dequantize(stored.data, stored.tensor_type))
    assert torch.equal(model.model.layers[0].mlp.up_proj.weight, expected)
    tokenizer = AutoTokenizer.from_pretrained(folder / "plain")
    assert tokenizer.convert_ids_to_tokens(tokenizer("abcd")["input_ids"]) == ["ab", "cd"]


def test_transformers_refuses_to_save_an_undequantised_model(folder: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=FILE)
    with pytest.raises(ValueError, match="is quantized with gguf and is not serializable"):
        model.save_pretrained(folder / "copy")
