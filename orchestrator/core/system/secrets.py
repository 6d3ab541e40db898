"""Masks passwords and tokens in text. Only this module decides which parts of a text are secret."""

import logging
import re
from collections.abc import Mapping
from urllib.parse import unquote

MASK = "***"

_PASSWORDS = r"password|passwd|passphrase|passcode|pwd"
_NAMED = (
    rf"{_PASSWORDS}|secret|credential|(?:api|access|account|private)[_-]?key"
    r"|(?:api|access|auth|bearer|hf|refresh|session)[_-]?token"
)
_WORDS = rf"{_NAMED}|token|signature"
_DATABASES = r"(?:postgres(?:ql)?|mysql|mariadb|mssql|oracle|cockroachdb|redshift|snowflake|mongodb|redis)(?:\+\w+)?"
_STOP = r"\s\"'<>`"
_BRACED = r"\{(?:\}\}|[^}\n]){1,512}\}"
"""A value of ODBC with its own separators: ``PWD={a;b}``."""
_MOST = "{0,4096}"  # longer than any address; without a limit, long texts take quadratic time
_SCHEME = "[a-z][a-z0-9+.-]{0,30}://"
_DATABASE = re.compile(
    rf"\b({_DATABASES}://(?:(?!%3A)[^{_STOP}:/@]){_MOST})(?::|%3A)([^{_STOP}]{_MOST})@", re.IGNORECASE
)
"""For SQLAlchemy the password ends at the last @; it may contain slashes and question marks."""
_USER = re.compile(rf"\b({_SCHEME}(?:(?!%3A)[^{_STOP}:/?#@]){_MOST})(?::|%3A)([^{_STOP}/?#]{_MOST})@", re.IGNORECASE)
_ODD = re.compile(
    rf"\b({_SCHEME}[^{_STOP}:/?#@\[]{_MOST}):(?!\*\*\*@|\d*(?:[/?#]|$))([^{_STOP}]{_MOST})@", re.IGNORECASE
)
"""Passwords with a slash or a question mark are invalid, but must not be shown in the error message either."""
_TOKEN = re.compile(rf"\b(https?://)([^{_STOP}:/?#@]{_MOST})@", re.IGNORECASE)
"""A name without a password before a server's address may be a token."""
_NAME = rf"[\w.-]{{0,40}}(?:{_WORDS})[\w.-]{{0,40}}|sig|sas|auth|key|pass|pw|jwt"
_QUERY = re.compile(
    rf"((?:[?&;#]|%3B|%26|=(?=[\w.-]{{1,99}}%3D))(?:{_NAME})(?:=|%3D))"
    rf"({_BRACED}|%7B(?:%7D%7D|(?!%7D)[^{_STOP}&#]){{1,512}}%7D"
    rf"|(?:(?!%3B|%26)[^{_STOP}&;#])*(?!%3B|%26)[^{_STOP}&;#,)}}\]])",
    re.IGNORECASE,
)
"""Values of an address, also inside one of them in percent encoding: ``?odbc_connect=UID%3DU%3BPWD%3D…``."""
_PAIR = re.compile(rf"([?&;#])([^{_STOP}=?&;#]{{1,200}})=([^{_STOP}&;#]{_MOST}[^{_STOP}&;#,)}}\]])")
"""A name and a value of an address; either may be in percent encoding, as in ``?options=-c%20x.password%3D…``."""
_SECRET_NAME = re.compile(_NAME, re.IGNORECASE)
_ASSIGNED = re.compile(
    rf"((?<![\w.-])[\w.-]{{0,40}}(?:{_NAMED})\s{{0,3}}=\s{{0,3}})(?!\*\*\*)"
    r"(?:'(?:\\.|[^'\\\n]){1,4096}'|\"(?:\\.|[^\"\\\n]){1,4096}\"|"
    rf"{_BRACED}|['\"]{{0,2}}[^\s'\"`&;,)}}\]]{{1,4096}})",
    re.IGNORECASE,
)
"""A password of a connection string or an option: ``host=h password=…``, possibly inside a query."""
_DECODINGS = 5
_HEADER = re.compile(
    r"\b(Authorization:\s*(?:Basic|Bearer|Token)\s+(?=[\w.~+/=-]{8})|Bearer\s+(?=[\w.~+/=-]{0,40}\d|[\w.~+/=-]{24}))"
    r"([\w.~+/=-]{8,})",
    re.IGNORECASE,
)
"""A token has digits or many characters; ``bearer securities`` is text."""


def redact(text: str) -> str:
    """Return ``text`` with masked secrets: passwords, tokens and secret query values of all its addresses.

    A masked secret stays unchanged.
    """
    if "://" not in text and "=" not in text and "earer" not in text and "uthorization" not in text:
        return text
    return _PAIR.sub(_masked_pair, _plainly_redacted(text))


def names_secret(name: str) -> bool:
    """Return whether a text with this name is a password, a key or a token; a ``pad_token`` is one of a vocabulary."""
    return re.search(_NAMED, name, re.IGNORECASE) is not None


def _plainly_redacted(text: str) -> str:
    """Return ``text`` with the secrets masked that are written as they are."""
    text = _DATABASE.sub(rf"\1:{MASK}@", text)
    text = _USER.sub(rf"\1:{MASK}@", text)
    text = _ODD.sub(rf"\1:{MASK}@", text)
    text = _TOKEN.sub(rf"\1{MASK}@", text)
    text = _QUERY.sub(rf"\1{MASK}", text)
    text = _ASSIGNED.sub(rf"\1{MASK}", text)
    return _HEADER.sub(rf"\1{MASK}", text)


def _masked_pair(pair: re.Match[str]) -> str:
    """Return a pair of an address; its value is masked if the decoded name or the decoded value shows a secret."""
    mark, name, value = pair.groups()
    if value != MASK and ("%" in name or "%" in value or "+" in value):
        decoded = _decoded(value)
        if _SECRET_NAME.fullmatch(_decoded(name)) or _plainly_redacted(decoded) != decoded:
            return f"{mark}{name}={MASK}"
    return pair[0]


def _decoded(text: str) -> str:
    """Return a text without percent encoding, also of encoded text; a + is a space."""
    text = text.replace("+", " ")
    for _ in range(_DECODINGS):
        before, text = text, unquote(text)
        if text == before:
            break
    return text


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
