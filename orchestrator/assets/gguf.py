"""Converts a quantised GGUF model to a plain transformers folder."""

import contextlib
import io
from pathlib import Path

from orchestrator.assets.cache import quiet_hugging_face


def dequantise(folder: Path, gguf: str, into: Path) -> Path:
    """Write the model and tokenizer of ``folder/gguf`` to the new folder ``into`` as float32 safetensors; return it.

    float32 represents the quantised values exactly. transformers refuses to save a model loaded from a GGUF file, so
    the weights are copied to a new model.
    """
    quiet_hugging_face()
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    with contextlib.redirect_stderr(io.StringIO()):  # the loader's progress bar cannot be switched off
        quantised = AutoModelForCausalLM.from_pretrained(
            folder, gguf_file=gguf, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True)
        )
        tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=gguf)
    config = type(quantised.config).from_dict(
        {name: value for name, value in quantised.config.to_dict().items() if name != "quantization_config"}
    )
    plain = type(quantised)(config)
    plain.load_state_dict(quantised.state_dict())
    plain.generation_config = quantised.generation_config
    plain.save_pretrained(into)
    tokenizer.save_pretrained(into)
    return into
