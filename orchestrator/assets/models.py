"""Locates a base model by its source and loads its parts."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from orchestrator.assets.cache import quiet_hugging_face
from orchestrator.assets.catalogue import Kind
from orchestrator.assets.fetch import asset_path, fetch, packaged
from orchestrator.assets.gguf import SUFFIX, model_of_gguf
from orchestrator.assets.hub import hub_errors
from orchestrator.assets.kaggle import kaggle_model
from orchestrator.assets.model_files import ADAPTER_CONFIG, CONFIG, check_adapter_folder, check_model_folder
from orchestrator.assets.torchhub import stored_torchhub_model, torchhub_version
from orchestrator.core.data import Origin, Source
from orchestrator.core.errors import AssetError, ModelError, UserError

_KAGGLE_PARTS = 4
"""Parts of a Kaggle model's handle without its version."""


def resolve_model(source: Source) -> str:
    """Return the first argument of ``from_pretrained``: an absolute folder or a hub id.

    The revision of a hub model is a separate argument of ``from_pretrained``: pass ``source.revision``, or use
    ``load_pretrained``.

    A GGUF file is converted once into a folder of the cache. Code of PyTorch Hub never runs here.

    Raises:
        AssetError: the model cannot be fetched, or the folder has no model.
        UserError: the packaged asset is unknown or is data, or a package is missing.
        ModelError: the folder has an adapter and no model, or the model cannot be converted.
    """
    quiet_hugging_face()
    if source.origin is Origin.HUB:
        return source.name
    if source.origin is Origin.PACKAGED:
        if packaged(source.name).kind is not Kind.MODEL:
            raise UserError(f"{source.name} is packaged data; a model is needed here")
        return str(fetch(source.name))
    if source.origin is Origin.TORCHHUB:
        stored = stored_torchhub_model(source.name, source.revision)
        if stored is None:  # code of other people runs for a trusting sweep file only; see stores.fetch_assets
            version = "" if source.revision is None else f", version {source.revision},"
            raise AssetError(
                f"{source}{version} is not in the cache of this machine; `sweep` stores a trusted model there"
            )
        return str(stored)
    if source.origin is Origin.KAGGLE:
        return str(kaggle_model(source.name))
    folder = Path(source.name).expanduser().absolute()
    if folder.suffix.lower() == SUFFIX and not folder.is_dir():
        return str(model_of_gguf(folder))
    if not (folder / "config.json").is_file():
        check_adapter_folder(folder)
        problem = "has no config.json" if folder.is_dir() else "is not a folder"
        raise AssetError(f"{folder} {problem}; a folder written by save_pretrained is needed")
    return str(folder)


def is_on_this_machine(source: Source) -> bool:
    """Return whether a model's configuration and tokenizer can be loaded without a download or foreign code."""
    if source.origin is Origin.LOCAL:
        return True
    if source.origin is Origin.TORCHHUB:
        return stored_torchhub_model(source.name, source.revision) is not None
    if source.origin is Origin.KAGGLE:
        return False  # kagglehub may ask for the newest version
    if source.origin is Origin.PACKAGED:
        return asset_path(source.name) is not None
    quiet_hugging_face()
    from huggingface_hub import try_to_load_from_cache

    names = (CONFIG, "tokenizer_config.json")
    return all(isinstance(try_to_load_from_cache(source.name, name, revision=source.revision), str) for name in names)


def require_model(source: Source) -> None:
    """Check the model's files. A packaged model is fetched; of a hub model, only its configuration.

    Raises:
        AssetError, UserError: as in ``resolve_model``; or the hub does not have the model or cannot be reached.
        ModelError: files are damaged, or the folder also contains an adapter.
    """
    name = resolve_model(source)
    if source.origin is not Origin.HUB:
        check_model_folder(Path(name))
        return
    with hub_errors(f"model {source}"):
        adapter = _hub_file(source, ADAPTER_CONFIG)
        if _hub_file(source, CONFIG, needed=adapter is None) is None:
            assert adapter is not None
            check_adapter_folder(adapter.parent, str(source))
    if adapter is not None:
        raise ModelError(
            f"{source} contains {ADAPTER_CONFIG} beside the model: transformers would also load this adapter, and "
            "trials would start from it. Use a repository without an adapter, or a local copy without these files."
        )


def pinned(source: Source) -> Source:
    """Return the model at a fixed version: a hub model at a commit, a Kaggle model at a version, a model of PyTorch Hub
    as it is stored in the cache. Others are unchanged.

    Raises:
        AssetError, ModelError, UserError: as in ``require_model``.
    """
    if source.origin is Origin.HUB:
        require_model(source)
        with hub_errors(f"model {source}"):
            config = _hub_file(source, CONFIG, needed=True)
        assert config is not None
        return with_version(source, config.parent.name)
    if source.origin is Origin.KAGGLE:
        return with_version(source, kaggle_model(source.name).name)
    if source.origin is Origin.TORCHHUB:
        return with_version(source, torchhub_version(source.name))
    return source


def with_version(source: Source, version: str) -> Source:
    """Return a hub model at the commit ``version``, or a model of Kaggle or PyTorch Hub at this version."""
    if source.origin in (Origin.HUB, Origin.TORCHHUB):
        return replace(source, revision=version)
    return replace(source, name="/".join([*source.name.split("/")[:_KAGGLE_PARTS], version]))


def version_of(source: Source) -> str | None:
    """Return the version of a model from ``pinned``; None if its source has no versions."""
    if source.origin is Origin.KAGGLE:
        return source.name.split("/")[_KAGGLE_PARTS]
    return source.revision if source.origin in (Origin.HUB, Origin.TORCHHUB) else None


def _hub_file(source: Source, name: str, *, needed: bool = False) -> Path | None:
    """Return the local path of a hub repository's file; None if the file does not exist and is not ``needed``."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    try:
        return Path(hf_hub_download(source.name, name, revision=source.revision))
    except EntryNotFoundError:
        if needed:
            raise
        return None


def load_pretrained(auto: Any, source: Source, **arguments: Any) -> Any:  # noqa: ANN401  (any class of transformers)
    """Return ``auto.from_pretrained(...)`` of the model, at its revision.

    Args:
        auto: a transformers class with ``from_pretrained``, such as ``AutoTokenizer``.
        source: the model.
        arguments: other arguments of ``from_pretrained``.

    Raises:
        AssetError: the model is missing, damaged or cannot be reached; the message has the remedy.
    """
    name = resolve_model(source)
    if source.origin is Origin.HUB:
        with hub_errors(f"model {source}"):
            return auto.from_pretrained(name, revision=source.revision, **arguments)
    return auto.from_pretrained(name, **arguments)
