"""Write ``docs/support.md`` from the reports of tests: ``python -m tests.support.page REPORT.xml …``.

A report is written by ``pytest --junit-xml``. Without a report of its tests, a row is not run.
"""

import platform
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from xml.etree import ElementTree

from tests.support.cells import (
    CELLS,
    FAMILIES,
    FRAMEWORKS,
    METHODS,
    METHODS_ELSEWHERE,
    NO_PACK,
    SOURCES,
    TASKS,
    Cell,
    Covered,
)

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


def support_page(results: Mapping[str, Result]) -> str:
    """Return the page."""
    passed = sum(_state(cell, results).state == "passed" for cell in CELLS)
    versions = ", ".join(f"{name} {version(name).partition('+')[0]}" for name in PACKAGES)
    parts = [
        INTRODUCTION.format(passed=passed, versions=versions, python=platform.python_version(), test=CELL_TEST),
        "## Tasks, families and methods",
    ]
    for task in TASKS:
        parts += ["", *_task_table(task, results)]
    for title, some in (("Methods and memory", METHODS_ELSEWHERE), ("Frameworks", FRAMEWORKS), ("Sources", SOURCES)):
        parts += ["", f"## {title}", "", *_covered_table(some, results)]
    parts += ["", "## Cells", "", "| cell | model | rows | result |", "|---|---|---|---|"]
    for cell in CELLS:
        model, rows = TASKS[cell.task].model.get(cell.family, "folder"), TASKS[cell.task].rows[cell.family]
        found = _state(cell, results)
        parts.append(f"| `{cell.id}` | {model} | {rows} | {_words(found)} |")
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


def _covered_table(rows: Sequence[Covered], results: Mapping[str, Result]) -> list[str]:
    lines = ["| subject | what the tests show | tests | result |", "|---|---|---|---|"]
    for row in rows:
        names = "<br>".join(f"`{test}`" for test in row.tests)
        lines.append(f"| {row.subject} | {row.what} | {names} | {covered_result(row, results)} |")
    return lines


def covered_result(row: Covered, results: Mapping[str, Result]) -> str:
    """Return the number of passed tests of a row, the reason if none ran, or the number of failed ones."""
    counts: dict[str, int] = {}
    reasons = []
    for test in row.tests:
        found = [
            result for node, result in results.items() if node == test or node.startswith((f"{test}::", f"{test}["))
        ]
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
    PAGE.write_text(support_page(read_reports(map(Path, sys.argv[1:]))), encoding="utf-8")
