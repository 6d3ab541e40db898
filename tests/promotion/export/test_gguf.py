"""Adapters as GGUF files: the products B A with their scale are PEFT's, in llama.cpp's order of rows."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from peft import PeftModel
from peft.tuners.lora import Linear
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.modeling_gguf_pytorch_utils import LlamaTensorProcessor

from orchestrator.core.data import Origin, Source
from orchestrator.core.errors import UserError
from orchestrator.core.space import ParamValue
from orchestrator.core.trials.settings import TrialSettings
from orchestrator.promotion.export.gguf_adapter import FILE, export_gguf, interleaved, write_gguf
from orchestrator.promotion.export.merge import export_merged
from orchestrator.tracking.logged_models.adapters import CONFIG, AdapterCard
from orchestrator.training.model.adapters import adapt, save_adapter
from orchestrator.training.model.base_model import load_base
from tests.fakes.tiny_models import tiny_gpt2, tiny_llama, tiny_qwen2
from tests.fakes.tiny_objective import TinyCausal
from tests.promotion.export.llama_cpp import next_token_log_probabilities

Array = NDArray[np.float32]


def trained(folder: Path, adapter: Path, **settings: ParamValue) -> Path:
    """Save an adapter with random weights."""
    base = load_base(Source(origin=Origin.LOCAL, name=str(folder)), TinyCausal(), "cpu")
    adapted = adapt(base, TrialSettings.from_params(settings), TinyCausal.head)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in adapted.model.parameters():
            if parameter.requires_grad:
                parameter.copy_(torch.randn_like(parameter))
    save_adapter(adapted, adapter)
    return adapter


@pytest.mark.parametrize("method", ["lily", "ln_tuning", "prompt_tuning"])
def test_unmergeable_method_is_refused_by_name(method: str, tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text(json.dumps({"peft_type": method.upper()}))
    with pytest.raises(UserError, match=f"--merge: peft cannot merge {method} into the base model"):
        export_merged(tmp_path, card_of(tmp_path), tmp_path / "merged")


def card_of(base: Path, head: str = "causal_lm") -> AdapterCard:
    return AdapterCard(
        base=Source(origin=Origin.LOCAL, name=str(base)),
        base_path=str(base),
        head=head,
        labels=(),
        max_length=32,
        objective="tiny",
        sweep="tiny#1",
        sweep_key="",
        trial=0,
        samples=8,
        measured_at=0.0,
    )


def products(file: Path) -> dict[str, Array]:
    """Return alpha / rank · B A by the name of the weight, as llama.cpp computes it."""
    reader = gguf.GGUFReader(file)
    alpha = float(reader.fields[gguf.Keys.Adapter.LORA_ALPHA].contents())
    tensors = {tensor.name: np.array(tensor.data) for tensor in reader.tensors}
    weights = sorted({name.rpartition(".")[0] for name in tensors})
    assert sorted(tensors) == sorted(f"{name}.lora_{side}" for name in weights for side in "ab")
    return {
        name: alpha / tensors[f"{name}.lora_a"].shape[0] * tensors[f"{name}.lora_b"] @ tensors[f"{name}.lora_a"]
        for name in weights
    }


def expected(base: Path, adapter: Path) -> dict[str, Array]:
    """Return PEFT's change of each weight."""
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), str(adapter))
    return {
        name.removeprefix("base_model.model."): layer.get_delta_weight("default").detach().numpy()
        for name, layer in model.named_modules()
        if isinstance(layer, Linear)
    }


NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


@pytest.mark.parametrize(
    ("write", "settings", "patterns"),
    [
        (tiny_llama, {"rank": 4, "alpha": 8.0}, {}),
        (tiny_llama, {"rank": 6, "alpha": 5.0, "rslora": True}, {}),
        (tiny_llama, {"rank": 4, "alpha": 8.0, "rslora": True}, {"alpha_pattern": {"q_proj": 3.0, "down_proj": 20.0}}),
        (tiny_qwen2, {"rank": 4, "alpha": 8.0}, {}),
    ],
)
def test_products_equal_peft(
    write: Callable[[Path], Path], settings: dict[str, ParamValue], patterns: dict[str, Any], tmp_path: Path
) -> None:
    base, heads = write(tmp_path / "model"), {"num_attention_heads": 2, "num_key_value_heads": 1}
    adapter = trained(base, tmp_path / "adapter", **settings)
    config = json.loads((adapter / CONFIG).read_text())
    (adapter / CONFIG).write_text(json.dumps(config | patterns))
    found = products(write_gguf(adapter, AutoConfig.from_pretrained(base)))
    changes = expected(base, adapter)
    assert len(found) == len(changes) == 14
    order = LlamaTensorProcessor(heads if write is tiny_llama else {})  # transformers' own way back from llama.cpp
    for layer in range(2):
        for name, weight in NAMES.items():
            key = f"blk.{layer}.{weight}.weight"
            change = order.process(found[key], key).weights
            np.testing.assert_allclose(change, changes[f"model.layers.{layer}.{name}"], rtol=1e-4, atol=1e-4)


def model_file(base: Path, file: Path) -> Path:
    """Write a tiny model as a GGUF file in float32, with a name per token for a vocabulary."""
    config, model = AutoConfig.from_pretrained(base), AutoModelForCausalLM.from_pretrained(base)
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    writer = gguf.GGUFWriter(file, config.model_type)
    writer.add_context_length(256)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    writer.add_tokenizer_model("llama")
    writer.add_token_list([f"<{token}>" for token in range(config.vocab_size)])
    writer.add_token_scores([0.0] * config.vocab_size)
    writer.add_token_types([gguf.TokenType.NORMAL] * config.vocab_size)
    kinds = {name: kind for kind, name in gguf.MODEL_ARCH_NAMES.items()}
    names = gguf.get_tensor_name_map(kinds[config.model_type], config.num_hidden_layers)
    for name, tensor in model.state_dict().items():
        weight, projection = tensor.numpy(), name.split(".")[-2]
        if config.model_type == "llama" and projection in heads:
            weight = interleaved(weight, heads[projection])
        its_name = names.get_name(name, try_suffixes=(".weight", ".bias"))
        assert its_name is not None
        writer.add_tensor(its_name, weight)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


@pytest.mark.parametrize("write", [tiny_llama, tiny_qwen2])
def test_llama_cpp_gives_probabilities_of_peft(write: Callable[[Path], Path], tmp_path: Path) -> None:
    base, tokens = write(tmp_path / "model"), [2, 5, 9, 14, 7, 11, 6]
    adapter = trained(base, tmp_path / "adapter", rank=4, alpha=8.0, rslora=True)
    file, weights = model_file(base, tmp_path / "model.gguf"), write_gguf(adapter, AutoConfig.from_pretrained(base))
    plain = AutoModelForCausalLM.from_pretrained(base)
    with torch.no_grad():
        before = plain(torch.tensor([tokens])).logits[0, -1].log_softmax(-1).tolist()
        adapted = PeftModel.from_pretrained(plain, str(adapter))
        after = adapted(torch.tensor([tokens])).logits[0, -1].log_softmax(-1).tolist()
    assert max(abs(a - b) for a, b in zip(before, after, strict=True)) > 0.01
    assert next_token_log_probabilities(file, None, tokens, len(before)) == pytest.approx(before, abs=1e-4)
    assert next_token_log_probabilities(file, weights, tokens, len(after)) == pytest.approx(after, abs=1e-4)


def test_metadata_is_that_of_an_adapter(tmp_path: Path) -> None:
    base = tiny_llama(tmp_path / "model")
    adapter = trained(base, tmp_path / "adapter", rank=4, alpha=8.0, rslora=True)
    reader = gguf.GGUFReader(write_gguf(adapter, AutoConfig.from_pretrained(base)))
    values = {name: field.contents() for name, field in reader.fields.items() if not name.startswith("GGUF.")}
    assert values == {
        "general.architecture": "llama",
        "general.type": "adapter",
        "adapter.type": "lora",
        "adapter.lora.alpha": 16.0,
    }


def test_export_holds_both_formats(tmp_path: Path) -> None:
    base = tiny_llama(tmp_path / "model")
    adapter = trained(base, tmp_path / "adapter", rank=4, alpha=8.0, rslora=True)
    folder = export_gguf(adapter, card_of(base), tmp_path / "out", plain_scaling=True)
    assert {"adapter_config.json", "adapter_model.safetensors", "README.md"} < {path.name for path in folder.iterdir()}
    own, exported = products(write_gguf(adapter, AutoConfig.from_pretrained(base))), products(folder / FILE)
    assert own.keys() == exported.keys()
    for name, change in own.items():
        np.testing.assert_allclose(exported[name], change, rtol=1e-5)


def test_unfit_adapters_are_refused(tmp_path: Path) -> None:
    llama, gpt2 = tiny_llama(tmp_path / "llama"), tiny_gpt2(tmp_path / "gpt2")
    lora, dora = trained(llama, tmp_path / "lora"), trained(llama, tmp_path / "dora", dora=True)
    for card, adapter, message in (
        (card_of(llama, "sequence_classification"), lora, "this one has the head sequence_classification"),
        (card_of(llama), dora, "this one is DoRA; export with --merge"),
        (card_of(gpt2), trained(gpt2, tmp_path / "other"), "Loratory does not know the GGUF layout of gpt2"),
    ):
        with pytest.raises(UserError, match=f"--gguf: .*{message}"):
            export_gguf(adapter, card, tmp_path / "out")
    assert not (tmp_path / "out").exists()
