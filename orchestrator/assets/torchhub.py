"""Base models from PyTorch Hub: a repository or a local folder with ``hubconf.py``.

``hubconf.py`` is code of other people. It runs once, for a source that a sweep file trusts explicitly. Its model and
tokenizer are then stored in the cache as a plain transformers folder, and only this folder is read afterwards.
"""

import ast
import contextlib
import hashlib
import json
import sys
import time
import zipfile
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import URLError

from orchestrator.assets.build_once import build_in_cache
from orchestrator.assets.cache import cache_root, quiet_hugging_face
from orchestrator.core.errors import AssetError, ModelError, first_line

HUBCONF = "hubconf.py"
RECORD = "torchhub.json"
"""File in the stored folder: the repository, its branch, tag or commit, the entry, when the code ran and its digest."""
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

    The code's output to stdout goes to stderr: the stdout of a command may be JSON.

    Raises:
        AssetError: the repository cannot be downloaded, or it has no ``hubconf.py``.
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
    for file in _files(Path(repository)):
        stat = file.stat()
        parts.append(f"{file.relative_to(repository)} {stat.st_size} {stat.st_mtime_ns}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _files(folder: Path) -> Iterator[Path]:
    """Yield the files of a repository in a stable order, without hidden and compiled ones."""
    for file in sorted(folder.rglob("*")):
        parts = file.relative_to(folder).parts
        if file.is_file() and not any(part == "__pycache__" or part[0] == "." for part in parts):
            yield file


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
    (into / RECORD).write_text(json.dumps(_record(repository, entry), indent=2) + "\n")
    return into


def _record(repository: str, entry: str) -> dict[str, str | None]:
    """Return the content of ``RECORD``. A branch may move: the digest of the files says which code ran."""
    folder = _code_folder(repository)
    assert folder is not None, "the code ran"
    digest = hashlib.sha256()
    for file in _files(folder):
        digest.update(f"{file.relative_to(folder)} {file.stat().st_size}\n".encode())
        digest.update(file.read_bytes())
    named = repository.partition(":")[2] or folder.name.removeprefix(_torch_name(repository, ""))
    ran = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return {
        "repository": repository,
        "ref": None if _is_local(repository) else named,
        "entry": entry,
        "code_ran_at": ran,
        "code_sha256": digest.hexdigest(),
    }


def _code_folder(repository: str) -> Path | None:
    """Return the folder with a repository's code; None if it is not downloaded.

    PyTorch Hub downloads the branch ``main`` of a repository without a REF, or ``master``.
    """
    if _is_local(repository):
        return Path(repository)
    import torch

    ref = repository.partition(":")[2]
    names = [_torch_name(repository, each) for each in ([ref] if ref else ["main", "master"])]
    folders = [Path(torch.hub.get_dir()) / name for name in names]
    return next((folder for folder in folders if folder.is_dir()), None)


def _torch_name(repository: str, ref: str) -> str:
    """Return the name of the folder into which PyTorch Hub downloads a repository."""
    return "_".join([*repository.partition(":")[0].split("/"), ref.replace("/", "_")])


def _is_local(repository: str) -> bool:
    return Path(repository).is_absolute()


def _require_entry(folder: Path, entry: str) -> None:
    """Check that a folder's ``hubconf.py`` defines the entry, without running it.

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
        with contextlib.redirect_stdout(sys.stderr):
            return torch.hub.load(
                repository, entry, source=source, trust_repo=True, skip_validation=True, verbose=False
            )
    except Exception as error:  # code of other people raises anything; the message has it
        folder = _code_folder(repository)
        if folder is not None:
            _require_entry(folder, entry)
        if isinstance(error, OSError | HTTPException | zipfile.BadZipFile) or isinstance(error.__cause__, URLError):
            raise AssetError(
                f"torchhub:{repository}:{entry} could not be loaded: {first_line(error)}. Check the name "
                "OWNER/NAME[:REF] and the network, or name a local copy of the repository."
            ) from error
        raise ModelError(f"torchhub:{repository}:{entry} raised {type(error).__name__}: {first_line(error)}") from error
