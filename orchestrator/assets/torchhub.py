"""Base models from PyTorch Hub: a repository or a local folder with ``hubconf.py``.

``hubconf.py`` is code of other people. It runs once, for a source that a sweep file trusts explicitly. Its model and
tokenizer are then stored in the cache as a plain transformers folder, and only this folder is read afterwards.
"""

import ast
import hashlib
import json
import time
from pathlib import Path
from typing import Any

from orchestrator.assets.build_once import build_in_cache
from orchestrator.assets.cache import cache_root, quiet_hugging_face
from orchestrator.core.errors import AssetError, ModelError, first_line

HUBCONF = "hubconf.py"
RECORD = "torchhub.json"
"""File in the stored folder with the repository, the entry and the time at which its code ran."""
_TOKENIZER = "tokenizer"


def repository_of(name: str) -> tuple[str, str]:
    """Return the repository (``owner/name``, ``owner/name:ref`` or a folder) and the entry of ``REPO:ENTRY``."""
    repository, _, entry = name.rpartition(":")
    return repository, entry


def stored_torchhub_model(name: str, version: str | None = None) -> Path | None:
    """Return the stored folder of ``REPO:ENTRY``; None if it is not there.

    Args:
        name: the repository and the entry.
        version: from ``torchhub_version``, possibly of earlier files; None: that of the present ones.
    """
    folder = cache_root() / _folder(version or torchhub_version(name))
    return folder if folder.is_dir() else None


def torchhub_model(name: str) -> Path:
    """Return the folder with the model and tokenizer of ``REPO:ENTRY``. The code of REPO runs if it is not stored.

    The entry returns a transformers model, or a pair of model and tokenizer. Without a pair, the entry ``tokenizer``
    of the same repository returns the tokenizer.

    Raises:
        AssetError: the repository cannot be downloaded, or the folder has no ``hubconf.py``.
        ModelError: the entry is unknown, raises, or returns something else.
    """
    return build_in_cache(_folder(torchhub_version(name)), lambda scratch: _run(name, scratch / "model"))


def torchhub_version(name: str) -> str:
    """Return 16 hexadecimal digits that identify ``REPO:ENTRY``.

    Those of a local repository change with names, sizes and times of its files. Hidden files and folders do not count:
    git writes to its own at any command.
    """
    repository, entry = repository_of(name)
    parts = [repository, entry]
    if Path(repository).is_dir():
        for file in sorted(Path(repository).rglob("*")):
            place = file.relative_to(repository)
            if file.is_file() and not any(part == "__pycache__" or part[0] == "." for part in place.parts):
                stat = file.stat()
                parts.append(f"{place} {stat.st_size} {stat.st_mtime_ns}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _folder(version: str) -> str:
    return f"torchhub-{version}"


def _run(name: str, into: Path) -> Path:
    quiet_hugging_face()
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    repository, entry = repository_of(name)
    if _is_local(repository):
        _require_entry(Path(repository), entry)
    loaded = _load(repository, entry)
    pair = loaded if isinstance(loaded, tuple) and len(loaded) == 2 else (loaded, None)
    model, tokenizer = pair
    if not isinstance(model, PreTrainedModel):
        raise ModelError(
            f"torchhub:{name} returns {type(loaded).__module__}.{type(loaded).__name__}; a transformers model is "
            "needed, or a pair of model and tokenizer"
        )
    if tokenizer is None:
        tokenizer = _load(repository, _TOKENIZER)
    if not isinstance(tokenizer, PreTrainedTokenizerBase):
        raise ModelError(
            f"torchhub:{repository}:{_TOKENIZER} returns {type(tokenizer).__name__}; a tokenizer is needed"
        )
    model.save_pretrained(into)
    tokenizer.save_pretrained(into)
    ran = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    record = {"repository": repository, "entry": entry, "code_ran_at": ran}
    (into / RECORD).write_text(json.dumps(record, indent=2) + "\n")
    return into


def _is_local(repository: str) -> bool:
    return Path(repository).is_absolute()


def _require_entry(folder: Path, entry: str) -> None:
    """Check that a local ``hubconf.py`` defines the entry, before its code runs.

    Raises:
        AssetError: there is no ``hubconf.py``.
        ModelError: it is not valid Python, or has no such entry.
    """
    file = folder / HUBCONF
    if not file.is_file():
        raise AssetError(f"{folder} has no {HUBCONF}; name a folder with one, or a repository OWNER/NAME")
    try:
        module = ast.parse(file.read_bytes(), str(file))
    except (SyntaxError, ValueError) as error:
        raise ModelError(f"{file} is not valid Python: {first_line(error)}") from error
    names: list[str] = []
    for node in module.body:
        if isinstance(node, ast.FunctionDef):
            names.append(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names += [item.asname or item.name for item in node.names]
        elif isinstance(node, ast.Assign):
            names += [target.id for target in node.targets if isinstance(target, ast.Name)]
    if entry not in names and "*" not in names:
        public = [node.name for node in module.body if isinstance(node, ast.FunctionDef) and node.name[0] != "_"]
        raise ModelError(f"{file} has no entry {entry!r}; it has {', '.join(public) or 'none'}")


def _load(repository: str, entry: str) -> Any:  # noqa: ANN401  (code of other people returns anything)
    import torch

    source = "local" if _is_local(repository) else "github"
    try:
        return torch.hub.load(repository, entry, source=source, trust_repo=True, skip_validation=True, verbose=False)
    except OSError as error:  # URLError and HTTPError too
        raise AssetError(
            f"torchhub:{repository}:{entry} could not be loaded: {first_line(error)}. Check the name OWNER/NAME[:REF] "
            "and the network, or name a local copy of the repository."
        ) from error
    except Exception as error:  # code of other people raises anything; the message has it
        raise ModelError(f"torchhub:{repository}:{entry} raised {type(error).__name__}: {first_line(error)}") from error
