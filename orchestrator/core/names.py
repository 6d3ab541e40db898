"""Names accepted by MLflow: users' names are cleaned or refused before any training. Pure."""

import hashlib
import re
from collections.abc import Iterable

from orchestrator.core.errors import UserError

KEY_LENGTH = 250
"""MLflow's limit for the keys of metrics, parameters and tags, in characters."""

_ALIAS_LENGTH = 200  # MLflow takes 255; the key of the tag for the previous version includes the alias
_MODEL_LENGTH = 250


def mlflow_key(name: str) -> str:
    """Return a metric's name as a key for MLflow; a valid key stays unchanged.

    MLflow accepts letters, digits, ``_ - . : /`` and spaces. It refuses keys which are not normal paths (``a//b``,
    ``./a``). Every other character becomes ``_``: ``hit@1`` is recorded as ``hit_1``.
    """
    parts = re.sub(r"[^\w./ :-]", "_", name).split("/")
    key = "/".join("_" if part in {"", ".", ".."} else part for part in parts)
    if len(key) <= KEY_LENGTH:
        return key
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{key[: KEY_LENGTH - len(digest) - 1]}-{digest}"


def logged_model_name(objective: str, trial: str) -> str:
    """Return the name of a trial's logged model. MLflow refuses ``/ : . % " '``; they become ``-``."""
    cleaned = re.sub(r"[^\w -]", "-", objective)[:200]
    return f"{cleaned}-{trial}"


def check_metric_names(names: Iterable[object]) -> None:
    """Raise ``UserError`` if a name is not text, or two names have the same key in MLflow."""
    seen: dict[str, str] = {}
    for name in names:
        if not isinstance(name, str) or not name.strip():
            raise UserError(f"a metric's name must be text that is not blank, got {name!r}")
        other = seen.setdefault(mlflow_key(name), name)
        if other != name:
            raise UserError(
                f"metrics {other!r} and {name!r} are both recorded as {mlflow_key(name)!r} in MLflow, which takes "
                "letters, digits, '_', '-', '.', ':', '/' and spaces; rename one"
            )


def check_alias(alias: str) -> None:
    """Raise ``UserError`` if MLflow refuses the alias of a model version, or promotions set it themselves."""
    if not re.fullmatch(r"[\w-]+", alias) or len(alias) > _ALIAS_LENGTH:
        raise UserError(
            f"--alias: letters, digits, '_' and '-' are needed, at most {_ALIAS_LENGTH} characters, got {alias!r}"
        )
    if alias.lower() == "latest" or re.fullmatch(r"[vV]\d+", alias):
        raise UserError(
            f"--alias: MLflow keeps 'latest' and 'v' with a number for itself, got {alias!r}; take a name such as "
            "champion or challenger"
        )
    if alias == "previous":
        raise UserError(
            "--alias: 'previous' is the alias of the champion before, set by promote and rollback; take a name such "
            "as champion or challenger"
        )


def check_model_name(name: str) -> None:
    """Raise ``UserError`` if MLflow or the command ``predict`` cannot use the name of a registered model."""
    if not name.strip() or any(sign in name for sign in "/:@") or name in {".", ".."} or len(name) > _MODEL_LENGTH:
        raise UserError(
            f"a registered model cannot be called {name!r}: a name without '/', ':' and '@' is needed, at most "
            f"{_MODEL_LENGTH} characters"
        )
