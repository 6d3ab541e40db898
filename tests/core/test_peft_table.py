"""The table of methods and the page about them match the installed peft."""

import re
from pathlib import Path

from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

from orchestrator.core.methods.catalogue import METHODS, REFUSED, Method, Option
from tests.core.peft_table import FILE, OURS, text

PAGE = Path(__file__).parents[2] / "docs/howto/methods.md"


def test_table_matches_installed_peft() -> None:
    """If it fails: python -m tests.core.peft_table."""
    assert FILE.read_text(encoding="utf-8") == text()


def test_every_method_of_peft_is_known() -> None:
    known = {peft_type.value.lower() for peft_type in PEFT_TYPE_TO_CONFIG_MAPPING}
    assert known == (METHODS.keys() - OURS) | REFUSED.keys()
    assert not METHODS.keys() & REFUSED.keys()


def test_page_lists_every_method_and_refusal() -> None:
    page = PAGE.read_text(encoding="utf-8")
    lines = [line for line in page.splitlines() if re.match(r"\| `\w+` \|", line)]
    rows = [row(name, method) for name, method in METHODS.items()]
    refusals = [f"| `{name}` | {reason} |" for name, reason in REFUSED.items()]
    assert lines == rows + refusals


def row(name: str, method: Method) -> str:
    """Return a method's line of the page's table."""
    engine = "packed" if name == "lora" else "solo"
    words = ["yes" if flag else "no" for flag in (True, method.merges, method.over_4_bits, method.with_deepspeed)]
    settings = ", ".join(f"`{setting}`" for setting in sorted(method.settings)) or "–"
    options = ", ".join(f"`{option}`" for option in method.options if option not in COMMON) or "–"
    return f"| `{name}` | {engine} | {' | '.join(words)} | {settings} | {options} |"


COMMON = ("bias", "exclude_modules", "init_weights", "layers_pattern", "layers_to_transform", "rank_pattern")


def test_option_refuses_other_kinds() -> None:
    pattern = Option(kinds=("mapping",), choices=(), default=None)
    assert pattern.problem('{"query": 4}') is None
    assert pattern.problem("[4]") == "a mapping is needed"
    assert pattern.decoded('{"query": 4}') == {"query": 4}
    number = Option(kinds=("number",), choices=(), default=0.5)
    assert [number.problem(value) for value in (1, 0.5, None)] == [None, None, None]
    assert [number.problem(value) for value in (True, "1")] == ["a number is needed"] * 2
    either = Option(kinds=("boolean", "text"), choices=("bat",), default=True)
    assert [either.problem(value) for value in (True, "bat", "cat", 1)] == [
        None,
        None,
        "one of bat is needed",
        "true or false or a text is needed",
    ]


if __name__ == "__main__":
    print(*(row(name, method) for name, method in METHODS.items()), sep="\n")  # noqa: T201  (for the page)
