"""Checks a base model's folder without loading it: complete files, one model and no adapter."""

import json
from collections.abc import Iterator
from pathlib import Path

from orchestrator.core.errors import ModelError

CONFIG = "config.json"
ADAPTER_CONFIG = "adapter_config.json"
_INDICES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
TOKENIZER_FILES = (
    "tokenizer*",
    "special_tokens_map.json",
    "vocab*",
    "merges.txt",
    "*.model",
    "*.codes",
    "chat_template*",
    "added_tokens.json",
)
"""Shell patterns of tokenizer files."""
_JSON = (CONFIG, "generation_config.json", "tokenizer_config.json", "special_tokens_map.json", "tokenizer.json")
_POINTER = b"version https://git-lfs"
_POINTER_BYTES = 1024
"""Largest size of a Git LFS pointer."""
_PICKLES = (b"PK\x03\x04", b"\x80")
"""First bytes of torch's files: a zip archive, or a pickle from old versions."""


def check_model_folder(folder: Path) -> None:
    """Check a base model's folder.

    JSON files are parsed, and the sizes of weight files are compared with their headers. Weights are not read.

    Raises:
        ModelError: a file is damaged or missing, or the folder also contains an adapter.
    """
    for name in _JSON:
        _object(folder / name)
    for pattern in TOKENIZER_FILES:
        for file in folder.glob(pattern):
            if file.is_file():
                _no_pointer(file)
    if (folder / ADAPTER_CONFIG).is_file():
        raise ModelError(
            f"{folder} contains {ADAPTER_CONFIG} beside the model: transformers would also load this adapter, and "
            f"trials would start from it. Move {ADAPTER_CONFIG} and adapter_model.* to another folder, or merge the "
            "adapter into the model (merge_and_unload) and save the result."
        )
    for file in _weight_files(folder):
        _check_weights(file)


def check_adapter_folder(folder: Path, name: str | None = None) -> None:
    """Raise ``ModelError`` if the folder contains an adapter and no base model.

    Args:
        folder: the folder.
        name: its name in the message; None: the folder's path.
    """
    config = _object(folder / ADAPTER_CONFIG)
    if config is not None and not (folder / CONFIG).is_file():
        base = config.get("base_model_name_or_path") or "the adapter's base model"
        raise ModelError(f"{name or folder} contains an adapter and no base model. Set model: {base}")


_UNFINISHED = {".incomplete", ".part", ".partial", ".crdownload", ".download", ".tmp"}
"""Endings of files during a download."""


def _weight_files(folder: Path) -> Iterator[Path]:
    """Yield the weight files in transformers' order of preference."""
    for single, index_name in zip(_WEIGHTS, _INDICES, strict=True):
        if (folder / single).is_file():
            yield folder / single
            return
        index = _object(folder / index_name)
        if index is not None:
            yield from _shards(folder, index_name, index)
            return
    parts = sorted(file.name for file in folder.glob("*") if file.suffix in _UNFINISHED)
    problem = f" ({parts[0]} is an interrupted download)" if parts else ""
    raise ModelError(
        f"{folder} has no weights{problem}; {' or '.join(_WEIGHTS)} is needed, or an index with its shards. Download "
        "the model again, or save it with save_pretrained."
    )


def _shards(folder: Path, index_name: str, index: dict[str, object]) -> list[Path]:
    places = index.get("weight_map")
    if not isinstance(places, dict) or not places:
        raise ModelError(f"{folder / index_name} names no weight files; download the model again")
    names = sorted({str(name) for name in places.values()})
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise ModelError(
            f"{folder} lacks {len(missing)} of the {len(names)} weight files of {index_name}: "
            f"{', '.join(missing[:3])}{' …' if len(missing) > 3 else ''}. Download the model again."
        )
    return [folder / name for name in names]


def _check_weights(file: Path) -> None:
    """Raise ``ModelError`` if a weight file is truncated or has another format."""
    _no_pointer(file)
    size = file.stat().st_size
    if file.suffix == ".safetensors":
        needed = _safetensors_size(file, size)
        if needed != size:
            raise ModelError(f"{file} has {size:,} bytes, its header states {needed:,}. Download the model again.")
    elif not _is_torch_file(file):
        raise ModelError(f"{file} is truncated or not a weight file ({size:,} bytes). Download the model again.")


def _is_torch_file(file: Path) -> bool:
    import zipfile

    with file.open("rb") as opened:
        first = opened.read(4)
    return zipfile.is_zipfile(file) if first == _PICKLES[0] else first.startswith(_PICKLES[1])


def _safetensors_size(file: Path, size: int) -> int:
    """Return the size in bytes of a safetensors file by its own header.

    The first 8 bytes are the header's length N, little-endian. The next N bytes are JSON with each tensor's offsets
    into the rest of the file. Source: github.com/huggingface/safetensors, "Format".
    """
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        header = opened.read(length) if 8 + length <= size else b""
    try:
        tensors = json.loads(header)
        ends = [tensor["data_offsets"][1] for name, tensor in tensors.items() if name != "__metadata__"]
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise ModelError(
            f"{file} is truncated or not a safetensors file ({size:,} bytes). Download the model again."
        ) from error
    return 8 + length + max(ends, default=0)


def _object(file: Path) -> dict[str, object] | None:
    """Return the JSON object in a file; None if the file does not exist."""
    if not file.is_file():
        return None
    _no_pointer(file)
    try:
        content: object = json.loads(file.read_bytes())
    except ValueError as error:  # not UTF-8, or not JSON
        raise ModelError(f"{file} is not valid JSON: {error}. Download the model again.") from error
    if not isinstance(content, dict):
        raise ModelError(f"{file}: a JSON object is needed, got {type(content).__name__}. Download the model again.")
    return content


def _no_pointer(file: Path) -> None:
    """Raise ``ModelError`` if a file is a Git LFS pointer."""
    if file.stat().st_size <= _POINTER_BYTES and file.read_bytes().startswith(_POINTER):
        raise ModelError(f"{file} is a Git LFS pointer, not the file itself. Run `git lfs pull` in {file.parent}.")
