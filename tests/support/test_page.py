"""The page of support agrees with the cells and names only tests that exist."""

import ast
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import COLLECTED
from tests.support.cells import CELLS, FAMILIES, METHODS, TASKS
from tests.support.elsewhere import ELSEWHERE, FRAMEWORKS, SECTIONS
from tests.support.page import (
    PAGE,
    Result,
    cells_of,
    covered_result,
    is_of,
    names_of,
    read_reports,
    rows_of,
    support_page,
)

ROOT = PAGE.parents[1]


def test_page_has_every_cell() -> None:
    """Run ``make support`` if it fails."""
    page = PAGE.read_text()
    cells = cells_of(page)
    assert [*cells] == [cell.id for cell in CELLS]
    assert {state for state in cells.values() if not state.startswith("skipped: ")} == {"passed"}
    assert sum(state == "passed" for state in cells.values()) >= 120
    results = rows_of(page)
    assert [*results] == [names_of(row) for row in ELSEWHERE]
    for row, result in zip(ELSEWHERE, results.values(), strict=True):
        assert re.match(r"\d+ passed", result), row.subject
    assert [*re.findall(r"^## (.*)", page, re.MULTILINE)][1:-1] == [*SECTIONS]
    assert "# What works, by test\n\n`make support`" in page
    assert f"{len(CELLS)} cells passed" in page


def test_page_counts_the_tests_of_the_suite(request: pytest.FixtureRequest) -> None:
    """A row names no test that is gone, and few new ones are missing.

    If it fails, update the page from reports of the row's tests: ``python -m tests.support.page --keep REPORT.xml …``.
    """
    collected = request.config.stash[COLLECTED]
    counts = {row.subject: sum(is_of(node, row) for node in collected) for row in ELSEWHERE}
    if not all(counts.values()):
        pytest.skip("a part of the suite was collected")
    for row, result in zip(ELSEWHERE, rows_of(PAGE.read_text()).values(), strict=True):
        stated = sum(int(number) for number in re.findall(r"(\d+) (?:passed|skipped)", result))
        assert stated <= counts[row.subject] <= stated + max(10, stated // 2), row.subject


def test_families_methods_and_sources_of_the_promise_are_rows() -> None:
    titles = {task.title for task in TASKS.values()}
    assert {"sentiment analysis", "summarisation", "translation", "question answering, by a part of the text"} <= titles
    assert {"BERT", "RoBERTa", "GPT", "T5"} <= {*FAMILIES.values()}
    for family in FAMILIES:
        assert any(family in task.rows for task in TASKS.values())
    subjects = " ".join(row.subject for row in ELSEWHERE)
    for word in ("QLoRA", "DeepSpeed", "ZeRO", "PyTorch", "Transformers", "TensorFlow", "Hugging Face"):
        assert word in subjects
    assert {"PyTorch Hub", "TensorFlow Hub"} <= {*re.findall(r"\w+ Hub", subjects)}
    assert "lora" in METHODS
    for task in TASKS.values():  # each family is tried or has a reason, each method too
        assert {*task.rows, *task.skipped} == {*FAMILIES}
        assert all(task.skipped.values())


def test_named_tests_exist() -> None:
    for name in (test.partition("[")[0] for row in ELSEWHERE for test in row.tests):
        file, *path = name.split("::")
        if (ROOT / file).is_dir():
            continue
        assert (ROOT / file).is_file(), name
        body: Sequence[ast.stmt] = ast.parse((ROOT / file).read_text()).body
        for part in path:
            found = [one for one in body if isinstance(one, ast.ClassDef | ast.FunctionDef) and one.name == part]
            if not found and part.startswith("test_") and len(path) > 1:
                break  # of a contract suite that the class inherits
            assert found, name
            body = found[0].body


def test_reports_become_results(tmp_path: Path) -> None:
    cell = CELLS[0]
    (tmp_path / "a.xml").write_text(
        '<testsuites><testsuite><testcase classname="tests.support.test_cells" '
        f'name="test_cell[{cell.id}]@group"/>'
        '<testcase classname="tests.training.function.test_keras" '
        'name="test_one"><skipped message="TensorFlow is not installed"/></testcase>'
        '<testcase classname="tests.e2e.test_function" name="test_two"><failure message="no"/></testcase>'
        "</testsuite></testsuites>"
    )
    results = read_reports([tmp_path / "a.xml"])
    assert results[f"tests/support/test_cells.py::test_cell[{cell.id}]"] == Result(state="passed")
    keras = replace(FRAMEWORKS[2], tests=FRAMEWORKS[2].tests[:1])
    assert covered_result(keras, results) == "skipped: TensorFlow is not installed"
    assert covered_result(FRAMEWORKS[0], results) == "1 failed"
    page = support_page(results)
    assert f"| `{cell.id}` | folder | {TASKS[cell.task].rows[cell.family]} | passed |" in page
    assert page.count("| not run |") > len(CELLS) - 2
    kept = support_page({}, page.replace("| not run |", "| passed |"))
    assert (kept.count("| passed |"), kept.count("| 1 failed |")) == (page.count("| not run |") + 1, 1)
