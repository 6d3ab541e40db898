"""Passwords that stand in a sweep file: told, and refused where masking them would spoil what is stored of it."""

from typing import Any

from orchestrator.core.secrets import redact, redacted
from orchestrator.spec.document import read_yaml
from orchestrator.spec.problems import Place, Problems
from orchestrator.spec.sections import TrackingSection


def secrets_in(tracking: TrackingSection, text: str, problems: Problems) -> tuple[str, ...]:
    """Return a sentence for each address that holds a password, and note one that is written in a way of its own.

    Args:
        tracking: the addresses.
        text: the file's text, overrides applied, in which they are masked before it is stored.
        problems: takes what is wrong.
    """
    addresses = {key: value for key, value in tracking.model_dump().items() if key.endswith("uri") and value}
    secret = [key for key, address in addresses.items() if redact(address) != address]
    if (secret or redact(text) != text) and _values(redact(text)) != redacted(_values(text)):
        path = ("tracking", secret[0]) if secret else ()
        problems.add(path, "an address with a password must stand in quotes, on one line, without escapes")
    for key, address in addresses.items():
        if "://" in address and "@" in address and any(character in address for character in " \t\n\"'<>`"):
            problems.add(("tracking", key), "an address without spaces and quotes is needed (%20 is a space)")
    return tuple(_warning(key, addresses[key], problems) for key in secret)


def _warning(key: str, address: str, problems: Problems) -> str:
    variable = "MLFLOW_TRACKING_URI" if key == "uri" else "MLFLOW_REGISTRY_URI"
    server = address.startswith("http")
    names = "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD" if server else "the database's own variables"
    return redact(
        f"{problems.place(('tracking', key)).label} tracking.{key}: holds a password, which is not stored, so that "
        f"promote, predict and ui do not know it; set {variable} in "
        f"the environment instead, or leave the password to {names}"
    )


def _values(text: str) -> Any:  # noqa: ANN401  (any plain value)
    place = Place.in_file("", 1, 1)
    return read_yaml(text, Problems(places={}), (), lambda _line, _column: place)
