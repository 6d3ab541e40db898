"""Converts a quantised GGUF model to a plain transformers folder."""

import contextlib
import io
from pathlib import Path

from orchestrator.assets.cache import quiet_hugging_face


def dequantise(folder: Path, gguf: str, into: Path) -> Path:
    """Write the model and tokenizer of ``folder/gguf`` to the new folder ``into`` as float32 safetensors; return it.

    float32 represents the quantised values exactly. transformers refuses to save the model unless it is loaded with
    ``dequantize=True``.
    """
    quiet_hugging_face()
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    with contextlib.redirect_stderr(io.StringIO()):  # the loader's progress bar cannot be switched off
        model = AutoModelForCausalLM.from_pretrained(
            folder, gguf_file=gguf, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True)
        )
        tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=gguf)
    model.save_pretrained(into)
    tokenizer.save_pretrained(into)
    return into
