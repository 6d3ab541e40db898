"""Checks the tracking addresses of a sweep file. Passwords in them are masked before the file is stored."""

from collections.abc import Iterator, Mapping

from orchestrator.core.system.secrets import names_secret, redact, redacted
from orchestrator.spec.document.problems import KeyPath, Place, Problems, yaml_text
from orchestrator.spec.document.yaml_text import read_yaml
from orchestrator.spec.sections.sweep_file import TrackingSection

_MAX_NAME_BYTES = 255


def check_addresses(tracking: TrackingSection, text: str, problems: Problems) -> tuple[str, ...]:
    """Return one warning per address with a password. Unusable addresses are added to ``problems``.

    Args:
        tracking: the addresses.
        text: the sweep file with overrides applied. It is stored with its passwords masked.
        problems: receives an error for an invalid address and for a password that cannot be masked.
    """
    addresses = {key: value for key, value in tracking.model_dump().items() if key.endswith("uri") and value}
    secret = [key for key, address in addresses.items() if redact(address) != address]
    values = _values(text)
    if (secret or redact(text) != text) and _values(redact(text)) != redacted(values):
        path = ("tracking", secret[0]) if secret else ()
        problems.add(path, "an address with a password must be quoted, on one line and without escapes")
    masked: set[KeyPath] = {("description",), *(("tracking", key) for key in secret)}
    for place in _secret_texts(values, ()):
        if place not in masked:
            problems.add(place, "contains a password or a token, and the values of sweep files are stored; remove it")
    for place in _secret_parameters(values):
        problems.add(
            place,
            "its name is that of a secret, and values of trials are stored; let the function read the environment",
        )
    for key, address in addresses.items():
        if "://" in address and "@" in address and any(character in address for character in " \t\n\"'<>`"):
            problems.add(("tracking", key), "an address without spaces and quotes is needed; write %20 for a space")
        names = () if address.startswith("http") else address.partition("?")[0].split("/")
        if any(len(name.encode()) > _MAX_NAME_BYTES for name in names):
            message = f"a name in a path has at most {_MAX_NAME_BYTES} bytes, got {yaml_text(address)}"
            problems.add(("tracking", key), redact(message))
    return tuple(_warning(key, addresses[key], problems) for key in secret)


def _warning(key: str, address: str, problems: Problems) -> str:
    variable = "MLFLOW_TRACKING_URI" if key == "uri" else "MLFLOW_REGISTRY_URI"
    server = address.startswith("http")
    names = "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD" if server else "the database's own variables"
    return redact(
        f"{problems.place(('tracking', key)).label} tracking.{key}: contains a password. Passwords are not stored, so "
        f"promote, predict and ui cannot use it. Set {variable} in the environment instead, or give the password "
        f"through {names}."
    )


def _secret_texts(value: object, path: KeyPath) -> Iterator[KeyPath]:
    """Yield the path of each text of a sweep file with a secret, also of keys."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            if redacted(key) != key:
                yield path or (str(key),)
            yield from _secret_texts(item, (*path, str(key)))
    elif isinstance(value, list):
        for place, item in enumerate(value):
            yield from _secret_texts(item, (*path, place))
    elif redacted(value) != value:
        yield path


def _secret_parameters(values: object) -> Iterator[KeyPath]:
    """Yield the path of each text given to a function under the name of a secret."""
    for outer, inner in (("function", "values"), ("search", "space")):
        section = values.get(outer) if isinstance(values, Mapping) else None
        named = section.get(inner) if isinstance(section, Mapping) else None
        for name, value in named.items() if isinstance(named, Mapping) else ():
            given = value.get("choices") if isinstance(value, Mapping) else value
            texts = given if isinstance(given, list) else [given]
            if names_secret(str(name)) and any(isinstance(each, str) for each in texts):
                yield outer, inner, str(name)


def _values(text: str) -> object:
    place = Place.in_file("", 1, 1)
    return read_yaml(text, Problems(places={}), (), lambda _line, _column: place)
