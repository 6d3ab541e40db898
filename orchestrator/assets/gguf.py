"""Turn a quantised GGUF model into a plain transformers folder, once."""

from pathlib import Path

from orchestrator.assets.cache import quiet_hugging_face


def dequantise(folder: Path, gguf: str, into: Path) -> Path:
    """Write the model and tokenizer of ``folder/gguf`` to the new folder ``into`` as float32 safetensors; return it.

    float32 keeps exactly what the quantised blocks say, and makes a plain ``from_pretrained`` train in float32.
    """
    quiet_hugging_face()
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    AutoTokenizer.from_pretrained(folder, gguf_file=gguf).save_pretrained(into)
    AutoModelForCausalLM.from_pretrained(folder, gguf_file=gguf, dtype=torch.float32).save_pretrained(into)
    return into
