"""The addresses of a sweep file: what they may be, and the passwords in them, which are masked in what is stored."""

from typing import Any

from orchestrator.core.secrets import redact, redacted
from orchestrator.spec.document import read_yaml
from orchestrator.spec.problems import Place, Problems, shown
from orchestrator.spec.sections import TrackingSection

_MOST_OF_A_NAME = 255


def check_addresses(tracking: TrackingSection, text: str, problems: Problems) -> tuple[str, ...]:
    """Return a sentence for each address that holds a password, and note those that cannot be used or masked.

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
        names = () if address.startswith("http") else address.partition("?")[0].split("/")
        if any(len(name.encode()) > _MOST_OF_A_NAME for name in names):
            message = f"a name in a path has at most {_MOST_OF_A_NAME} bytes, got {shown(address)}"
            problems.add(("tracking", key), redact(message))
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
