"""Reads the text of a file: UTF-8, or the encoding of its byte order mark."""

import codecs
from pathlib import Path

from orchestrator.core.errors import DataError

_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
"""Encoding by byte order mark. UTF-32 comes before UTF-16, because its mark starts with the mark of UTF-16."""


def read_text(path: Path, name: str) -> str:
    """Return the text of a file without its byte order mark.

    Args:
        path: the file.
        name: the name of the format, for messages: ``CSV``.

    Raises:
        DataError: the file is not UTF-8, contains a zero byte, or is blank.
    """
    text = decoded(path, name)
    if not text.strip():
        raise DataError(f"{path} is blank; a {name} file with rows is needed")
    return text


def decoded(path: Path, name: str) -> str:
    """Return the text of a file, possibly blank, as ``read_text``.

    Raises:
        DataError: the file is not UTF-8, or contains a zero byte.
    """
    raw = path.read_bytes()
    encoding = next((encoding for mark, encoding in _MARKS.items() if raw.startswith(mark)), "utf-8")
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError as error:
        line, expected = raw[: error.start].count(b"\n") + 1, encoding.removesuffix("-sig").upper()
        raise DataError(
            f'{path}, line {line}: byte 0x{raw[error.start]:02x} is not {expected}; save the file as "{name} UTF-8", '
            f"or convert it: iconv -f WINDOWS-1252 -t UTF-8 {path.name} > new-{path.name}"
        ) from error
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise DataError(f'{path}, line {line}: the text contains a zero byte; save the file as "{name} UTF-8"')
    return text
