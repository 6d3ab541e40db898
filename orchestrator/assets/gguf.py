"""Converts a quantised GGUF model to a plain transformers folder."""

import contextlib
import functools
import hashlib
import io
from pathlib import Path

from orchestrator.assets.build_once import build_in_cache
from orchestrator.assets.cache import quiet_hugging_face
from orchestrator.core.errors import AssetError, LoratoryError, ModelError, first_line, memory_ran_out

SUFFIX = ".gguf"
_MAGIC = b"GGUF"


def model_of_gguf(file: Path) -> Path:
    """Return the folder with a GGUF file's model in float32. It is written once into the cache, by content.

    Raises:
        AssetError: the file does not exist or cannot be read.
        ModelError: the file is no GGUF file or incomplete, or transformers cannot convert it.
    """
    try:
        with file.open("rb") as stream:
            start = stream.read(len(_MAGIC))
        stat = file.stat()
    except OSError as error:
        raise AssetError(f"{file} cannot be read: {error.strerror}; name a {SUFFIX} file") from error
    if start != _MAGIC:
        raise ModelError(f"{file} is not a GGUF file: it starts with {start!r}. Download the model again.")
    digest = _digest(file, stat.st_size, stat.st_mtime_ns)
    return build_in_cache(f"gguf-{digest[:16]}", lambda scratch: _converted(file, scratch / "model"))


@functools.cache
def _digest(file: Path, size: int, written_ns: int) -> str:  # noqa: ARG001  (the key of the cache)
    """Return the file's sha256; computed once per process while size and time of writing are equal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _converted(file: Path, into: Path) -> Path:
    from gguf import GGUFReader

    try:
        GGUFReader(file)  # maps each tensor: an incomplete file raises
    except (ValueError, KeyError, IndexError, OSError) as error:
        raise ModelError(
            f"{file} is incomplete or damaged ({file.stat().st_size:,} bytes): {first_line(error)}. Download the model "
            "again."
        ) from error
    try:
        return dequantise(file.parent, file.name, into)
    except LoratoryError:
        raise
    except Exception as error:  # transformers raises plain exceptions for unknown architectures and quantisations
        if memory_ran_out(error):
            raise ModelError(f"{file}: memory does not suffice to convert it; each weight takes 4 bytes") from error
        raise ModelError(
            f"{file}: transformers cannot convert this GGUF model: {first_line(error)}. Name the model's original "
            "folder or hub id."
        ) from error


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
