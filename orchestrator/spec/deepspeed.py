"""``training.deepspeed``: by name, as a JSON file or written out, to a checked configuration."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestrator.core.deepspeed import NAMED, Config, missing_package, problems_of, without_auto
from orchestrator.spec.problems import KeyPath, Problems
from orchestrator.spec.sources import SourceReader

_PATH: KeyPath = ("training", "deepspeed")


def read_deepspeed(written: str | Mapping[str, Any] | None, sources: SourceReader, problems: Problems) -> Config | None:
    """Return DeepSpeed's configuration; None if there is none, or after a problem.

    Args:
        written: a name, the path of a ``.json`` file, or the configuration itself.
        sources: finds the file.
        problems: takes what is wrong, a missing package included.
    """
    if written is None or problems.is_broken(_PATH):
        return None
    missing = missing_package()
    if missing:
        problems.add(_PATH, missing)
    config = _read(written, sources, problems) if isinstance(written, str) else written
    if config is None:
        return None
    found = list(problems_of(config))
    for key, message in found:
        if isinstance(written, str):
            problems.add(_PATH, f"{'.'.join(key)}{': ' if key else ''}{message}, in {written!r}")
        else:
            problems.add((*_PATH, *key), message)
    return None if found else without_auto(config)


def _read(written: str, sources: SourceReader, problems: Problems) -> Config | None:
    if written in NAMED:
        return NAMED[written]
    if Path(written).suffix != ".json":
        problems.add(_PATH, f"{', '.join(NAMED)} or the path of a .json file is needed, got {written!r}")
        return None
    file = sources.find(written)
    if file is None or not file.is_file():
        problems.add(_PATH, f"no such file, got {written!r}")
        return None
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:  # not readable, not UTF-8, or no JSON
        problems.add(_PATH, f"is no JSON file: {error}, got {written!r}")
        return None
    if not isinstance(config, dict):
        problems.add(_PATH, f"a mapping is needed in the file, got {type(config).__name__} in {written!r}")
        return None
    return config
