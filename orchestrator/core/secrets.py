"""Masks passwords and tokens in text. Only this module decides which parts of a text are secret."""

import logging
import re
from collections.abc import Mapping

MASK = "***"

_WORDS = r"password|passwd|passphrase|pwd|token|secret|credential|api[_-]?key|access[_-]?key|account[_-]?key|signature"
_DATABASES = r"(?:postgres(?:ql)?|mysql|mariadb|mssql|oracle|cockroachdb|redshift|snowflake|mongodb|redis)(?:\+\w+)?"
_STOP = r"\s\"'<>`"
_MOST = "{0,4096}"  # longer than any address; without a limit, long texts take quadratic time
_SCHEME = "[a-z][a-z0-9+.-]{0,30}://"
_DATABASE = re.compile(rf"\b({_DATABASES}://[^{_STOP}:/@]{_MOST}):([^{_STOP}]{_MOST})@", re.IGNORECASE)
"""For SQLAlchemy the password ends at the last @; it may contain slashes and question marks."""
_USER = re.compile(rf"\b({_SCHEME}[^{_STOP}:/?#@]{_MOST}):([^{_STOP}/?#]{_MOST})@", re.IGNORECASE)
_ODD = re.compile(
    rf"\b({_SCHEME}[^{_STOP}:/?#@\[]{_MOST}):(?!\*\*\*@|\d*(?:[/?#]|$))([^{_STOP}]{_MOST})@", re.IGNORECASE
)
"""Passwords with a slash or a question mark are invalid, but must not be shown in the error message either."""
_TOKEN = re.compile(rf"\b(https?://)([^{_STOP}:/?#@]{_MOST})@", re.IGNORECASE)
"""A name without a password before a server's address may be a token."""
_NAME = rf"[\w.-]{{0,40}}(?:{_WORDS})[\w.-]{{0,40}}|sig|auth|key"
_QUERY = re.compile(
    rf"((?:[?&;]|%3B|%26|=(?=[\w.-]{{1,99}}%3D))(?:{_NAME})(?:=|%3D))"
    rf"((?:(?!%3B|%26)[^{_STOP}&;#])*(?!%3B|%26)[^{_STOP}&;#,)}}\]])",
    re.IGNORECASE,
)
"""Values of an address, also inside one of them in percent encoding: ``?odbc_connect=UID%3DU%3BPWD%3D…``."""
_HEADER = re.compile(r"\b(Authorization:\s*(?:Basic|Bearer|Token)\s+|Bearer\s+)([\w.~+/=-]{8,})", re.IGNORECASE)


def redact(text: str) -> str:
    """Return ``text`` with masked secrets: passwords, tokens and secret query values of all its addresses.

    A masked secret stays unchanged.
    """
    if "://" not in text and "=" not in text and "earer" not in text and "uthorization" not in text:
        return text
    text = _DATABASE.sub(rf"\1:{MASK}@", text)
    text = _USER.sub(rf"\1:{MASK}@", text)
    text = _ODD.sub(rf"\1:{MASK}@", text)
    text = _TOKEN.sub(rf"\1{MASK}@", text)
    text = _QUERY.sub(rf"\1{MASK}", text)
    return _HEADER.sub(rf"\1{MASK}", text)


def redacted(value: object) -> object:
    """Return a plain, possibly nested value with every text redacted, keys included."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {redacted(key): redacted(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(redacted, value)) if type(value) in (list, tuple) else [*map(redacted, value)]
    return value


def unmasked(address: str) -> str:
    """Return a redacted address without its masks; its user takes name and password from another source."""
    mask = re.escape(MASK)
    # The name goes too: a name in the address would override MLFLOW_TRACKING_USERNAME.
    address = re.sub(rf"(?<=://)(?:[^:/@]*:)?{mask}@", "", address) if address.startswith("http") else address
    address = re.sub(rf":{mask}(?=@)", "", address)
    before, mark, query = address.partition("?")
    kept = [part for part in query.split("&") if not part.endswith(f"={MASK}")]
    return before + (mark + "&".join(kept) if kept else "")


class RedactingFormatter(logging.Formatter):
    """Formats log records and tracebacks without secrets."""

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))
