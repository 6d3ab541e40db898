"""Passwords that stand in a sweep file: told, and refused where they could not be masked in what is stored of it."""

import re

from orchestrator.core.secrets import redact
from orchestrator.spec.problems import Problems
from orchestrator.spec.sections import TrackingSection

_ODD = re.compile(r"[\s\"'<>`]")


def secrets_in(tracking: TrackingSection, text: str, problems: Problems) -> tuple[str, ...]:
    """Return a sentence for each address that holds a password, and note those that are written in a way of their own.

    Args:
        tracking: the addresses.
        text: the file's text, in which they are masked before it is stored.
        problems: takes what is wrong.
    """
    found = []
    for key in ("uri", "registry_uri"):
        address = getattr(tracking, key)
        if address is None or redact(address) == address:
            # Without a password, or with one that no address may hold as it is.
            if address is not None and "://" in address and "@" in address and _ODD.search(address):
                problems.add(("tracking", key), "an address without spaces and quotes is needed (%20 is a space)")
            continue
        if _ODD.search(address) or address not in text:
            message = "an address with a password must stand on one line, without escapes, spaces and quotes"
            problems.add(("tracking", key), message)
            continue
        variable = "MLFLOW_TRACKING_URI" if key == "uri" else "MLFLOW_REGISTRY_URI"
        server = " or leave name and password to MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
        place = problems.place(("tracking", key)).label
        found.append(
            redact(place) + f" tracking.{key}: holds a password, which is not stored and which commands such as "
            f"promote and ui will not know; set {variable} in the environment instead,"
            + (f"{server}" if address.startswith("http") else " or leave the password to the database's own variables")
        )
    return tuple(found)
