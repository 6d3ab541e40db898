"""Write ``docs/support.md`` from the reports of tests: ``python -m tests.support.page [--keep] REPORT.xml …``.

A report is written by ``pytest --junit-xml``. Without reports of all its tests, a row is not run; with ``--keep`` it
keeps its result of the present page.
"""

import platform
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from xml.etree import ElementTree

from tests.support.cells import CELLS, FAMILIES, METHODS, NO_PACK, TASKS, Cell
from tests.support.elsewhere import SECTIONS, Covered

PAGE = Path(__file__).parents[2] / "docs" / "support.md"
CELL_TEST = "tests/support/test_cells.py::test_cell"
PACKAGES = ("torch", "transformers", "peft")
INTRODUCTION = """# What works, by test

`make support` runs the tests named here and writes this page from their reports: {passed} cells passed, on a CPU, with
{versions}, Python {python}.

A *cell* is a trial of a sweep. A tiny random model of the family is trained for two optimizer steps by the product's
own path: sweep file, engine, reports, ledger, MLflow. The kept adapter is measured on the test split, exported, loaded
by plain peft, and answers a text. The test of a cell is `{test}[NAME]`.

Packs train LoRA and DoRA; the solo engine trains them, and full fine-tuning, for the first family of each task.
LoHa, LoKr, VeRA, BOFT and P-tuning are tried with BERT in the first task. What a real model learns is in
`benchmarks/RESULTS.md`. Every other family of transformers is in [Model families](families.md).

| sign | meaning |
|---|---|
| ✓ | passed; the cell's name is in the [list](#cells) |
| ✗ | failed, or not run |
| – | not applicable, or left out; the reason is above or below the table |
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """The result of one test.

    Attributes:
        state: ``passed``, ``skipped`` or ``failed``.
        reason: why it was skipped.
    """

    state: str
    reason: str = ""


def read_reports(files: Iterable[Path]) -> dict[str, Result]:
    """Return the result of each test of the reports by node id; a later report counts, unless it has a skip."""
    found: dict[str, Result] = {}
    for file in files:
        for case in ElementTree.parse(file).getroot().iter("testcase"):  # noqa: S314  (our own file)
            node, result = _node(case.get("classname", ""), case.get("name", "")), _result(case)
            if node not in found or result.state != "skipped":
                found[node] = result
    return found


def _node(module: str, name: str) -> str:
    """Return a test's node id; a part of ``module`` with a capital letter is a class.

    xdist writes the group of a test after its name, with ``@``.
    """
    parts, name = module.split("."), name.partition("@")[0]
    classes = [part for part in parts if part[:1].isupper()]
    return "::".join(("/".join(part for part in parts if part not in classes) + ".py", *classes, name))


def _result(case: ElementTree.Element) -> Result:
    skipped = case.find("skipped")
    if skipped is not None:
        return Result(state="skipped", reason=skipped.get("message", ""))
    broken = case.find("failure") is not None or case.find("error") is not None
    return Result(state="failed" if broken else "passed")


def cells_of(page: str) -> dict[str, str]:
    """Return the result of each cell of a page, by its name."""
    return dict(re.findall(r"^\| `([\w-]+)` \| .* \| (.*) \|$", page, re.MULTILINE))


def rows_of(page: str) -> dict[str, str]:
    """Return the result of each other row of a page, by its column of tests."""
    return dict(re.findall(r"^\| [^|`]+ \| [^|]+ \| (`tests/[^|]*) \| (.*) \|$", page, re.MULTILINE))


def support_page(results: Mapping[str, Result], earlier: str = "") -> str:
    """Return the page.

    Args:
        results: by node id.
        earlier: a page; its results count for cells and rows without a test in ``results``.
    """
    known = {f"{CELL_TEST}[{name}]": Result(state=state) for name, state in cells_of(earlier).items()}
    results = {**known, **results}
    kept = rows_of(earlier)
    passed = sum(_state(cell, results).state == "passed" for cell in CELLS)
    versions = ", ".join(f"{name} {version(name).partition('+')[0]}" for name in PACKAGES)
    parts = [
        INTRODUCTION.format(passed=passed, versions=versions, python=platform.python_version(), test=CELL_TEST),
        "## Tasks, families and methods",
    ]
    for task in TASKS:
        parts += ["", *_task_table(task, results)]
    for title, rows in SECTIONS.items():
        parts += ["", f"## {title}", "", *_covered_table(rows, results, kept)]
    parts += ["", "## Cells", "", "| cell | model | rows | result |", "|---|---|---|---|"]
    for cell in CELLS:
        model, form = TASKS[cell.task].model.get(cell.family, "folder"), TASKS[cell.task].rows[cell.family]
        parts.append(f"| `{cell.id}` | {model} | {form} | {_words(_state(cell, results))} |")
    return "\n".join(parts) + "\n"


def _words(result: Result) -> str:
    return f"skipped: {result.reason}" if result.state == "skipped" else result.state


def _state(cell: Cell, results: Mapping[str, Result]) -> Result:
    return results.get(f"{CELL_TEST}[{cell.id}]", Result(state="not run"))


def _task_table(name: str, results: Mapping[str, Result]) -> list[str]:
    """Return heading, table and reasons of a task."""
    task, mine = TASKS[name], [cell for cell in CELLS if cell.task == name]
    columns = [
        (method, engine)
        for method in METHODS
        for engine in ("packed", "solo")
        if any((cell.method, cell.engine) == (method, engine) for cell in mine)
    ]
    heads = " | ".join(f"{METHODS[method].title}, {engine}" for method, engine in columns)
    lines = [
        f"### {task.title[0].upper()}{task.title[1:]}",
        "",
        f"| family | {heads} |",
        "|---" * (1 + len(columns)) + "|",
    ]
    for family in task.rows:
        signs = []
        for method, engine in columns:
            cells = [one for one in mine if (one.family, one.method, one.engine) == (family, method, engine)]
            signs.append({"passed": "✓"}.get(_state(cells[0], results).state, "✗") if cells else "–")
        lines.append(f"| {FAMILIES[family]} | {' | '.join(signs)} |")
    reasons = {FAMILIES[family]: why for family, why in task.skipped.items()}
    reasons |= {METHODS[method].title: why for method, why in task.refused.items()}
    reasons |= {f"packs with {FAMILIES[family]}": NO_PACK for family in task.solo}
    reasons |= {
        f"{METHODS[method].title} with {FAMILIES[family]}": why
        for family, refused in task.unfit.items()
        for method, why in refused.items()
    }
    by_reason: dict[str, list[str]] = {}
    for subject, why in reasons.items():
        by_reason.setdefault(why, []).append(subject)
    listed = [f"- {', '.join(subjects)}: {why}." for why, subjects in by_reason.items()]
    return [*lines, "", *listed] if listed else lines


def _covered_table(rows: Sequence[Covered], results: Mapping[str, Result], kept: Mapping[str, str]) -> list[str]:
    lines = ["| subject | what the tests show | tests | result |", "|---|---|---|---|"]
    for row in rows:
        names, result = names_of(row), covered_result(row, results)
        if not all(_found(test, results) for test in row.tests):
            result = kept.get(names, result)
        lines.append(f"| {row.subject} | {row.what} | {names} | {result} |")
    return lines


def names_of(row: Covered) -> str:
    """Return the column of tests of a row; the parameters of one test follow its name."""
    named: dict[str, list[str]] = {}
    for test in row.tests:
        name, _, parameter = test.partition("[")
        named.setdefault(name, []).extend([parameter.removesuffix("]")] if parameter else [])
    return "<br>".join(f"`{name}`" + (f" ({', '.join(given)})" if given else "") for name, given in named.items())


def is_of(node: str, row: Covered) -> bool:
    """Return whether a node id is of a row: one of its tests, or in one of its files, folders or classes."""
    return any(_is_in(node, test) for test in row.tests)


def _is_in(node: str, test: str) -> bool:
    return node == test or node.startswith((f"{test}::", f"{test}[", f"{test}/"))


def _found(test: str, results: Mapping[str, Result]) -> list[Result]:
    return [result for node, result in results.items() if _is_in(node, test)]


def covered_result(row: Covered, results: Mapping[str, Result]) -> str:
    """Return the number of passed tests of a row, the reason if none ran, or the number of failed ones."""
    counts: dict[str, int] = {}
    reasons = []
    for test in row.tests:
        found = _found(test, results)
        if not found:
            return "not run" if row.extra is None else f"skipped: `make test-{row.extra}` installs what it needs"
        for result in found:
            counts[result.state] = counts.get(result.state, 0) + 1
            reasons += [result.reason] if result.state == "skipped" else []
    if "failed" in counts:
        return f"{counts['failed']} failed"
    if "passed" not in counts:
        return f"skipped: {reasons[0]}"
    skipped = f", {counts['skipped']} skipped ({reasons[0]})" if reasons else ""
    return f"{counts['passed']} passed{skipped}"


if __name__ == "__main__":
    reports = [Path(each) for each in sys.argv[1:] if each != "--keep"]
    present = PAGE.read_text(encoding="utf-8") if "--keep" in sys.argv else ""
    PAGE.write_text(support_page(read_reports(reports), present), encoding="utf-8")
