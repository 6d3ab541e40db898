"""The legend of tensor suffixes in ``orchestrator.training.packed`` and the names in that package agree."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from orchestrator.training import packed

FOLDER = Path(packed.__file__).parent
LEGEND = dict(re.findall(r"^ {4}([A-Z])  (\S.*)$", packed.__doc__ or "", re.MULTILINE))
SUFFIX = re.compile(r"_*[a-z][a-z0-9_]*?_([A-Z][A-Z0-9]*|[0-9]+[A-Z][A-Z0-9]*)")


def names(tree: ast.AST) -> Iterator[str]:
    """Yield the names of variables, attributes and arguments."""
    for node in ast.walk(tree):
        match node:
            case ast.Name():
                yield node.id
            case ast.Attribute():
                yield node.attr
            case ast.arg():
                yield node.arg
            case ast.keyword() if node.arg is not None:
                yield node.arg


def letters() -> dict[str, set[str]]:
    """Return the names with each suffix letter, in code and in docstrings."""
    found: dict[str, set[str]] = {}
    for path in FOLDER.rglob("*.py"):
        text = path.read_text()
        quoted = re.findall(r"``([^`\n]+)``", text)
        for name in [*names(ast.parse(text)), *quoted]:
            if match := SUFFIX.fullmatch(name):
                for letter in re.sub(r"[0-9]", "", match[1]):
                    found.setdefault(letter, set()).add(name)
    return found


def test_every_suffix_letter_is_in_the_legend() -> None:
    assert {letter: names for letter, names in letters().items() if letter not in LEGEND} == {}


def test_every_letter_of_the_legend_is_used() -> None:
    assert LEGEND.keys() - letters().keys() == set()
