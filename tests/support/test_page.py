"""The page of support agrees with the cells and names only tests that exist."""

import ast
import re
from collections.abc import Sequence
from pathlib import Path

from tests.support.cells import CELLS, ELSEWHERE, FAMILIES, FRAMEWORKS, METHODS, METHODS_ELSEWHERE, SOURCES, TASKS
from tests.support.page import PAGE, Result, covered_result, read_reports, support_page

ROOT = PAGE.parents[1]


def test_page_has_every_cell() -> None:
    """Run ``make support`` if it fails."""
    page = PAGE.read_text()
    rows = dict(re.findall(r"^\| `([\w-]+)` \| .* \| (.*) \|$", page, re.MULTILINE))
    assert [*rows] == [cell.id for cell in CELLS]
    assert {state for state in rows.values() if not state.startswith("skipped: ")} == {"passed"}
    assert sum(state == "passed" for state in rows.values()) >= 120
    results = re.findall(r"^\| [^|`]+ \| [^|]+ \| (`tests/.*`) \| (.*) \|$", page, re.MULTILINE)
    assert [tests for tests, _ in results] == ["<br>".join(f"`{test}`" for test in row.tests) for row in ELSEWHERE]
    for row, (_, result) in zip(ELSEWHERE, results, strict=True):
        assert re.match(r"\d+ passed", result) or (row.extra is not None and result.startswith("skipped: "))
    assert "# What works, by test\n\n`make support`" in page
    assert f"{len(CELLS)} cells passed" in page


def test_families_methods_and_sources_of_the_promise_are_rows() -> None:
    titles = {task.title for task in TASKS.values()}
    assert {"sentiment analysis", "summarisation", "question answering, by a part of the text"} <= titles
    assert {"BERT", "RoBERTa", "GPT", "T5"} <= {*FAMILIES.values()}
    for family in FAMILIES:
        assert any(family in task.rows for task in TASKS.values())
    subjects = " ".join(row.subject for row in (*METHODS_ELSEWHERE, *FRAMEWORKS, *SOURCES))
    for word in (
        "QLoRA",
        "DeepSpeed",
        "ZeRO",
        "PyTorch",
        "TensorFlow",
        "Hugging Face",
        "PyTorch Hub",
        "TensorFlow Hub",
    ):
        assert word in subjects
    assert "lora" in METHODS
    for task in TASKS.values():  # each family is tried or has a reason, each method too
        assert {*task.rows, *task.skipped} == {*FAMILIES}
        assert all(task.skipped.values())


def test_named_tests_exist() -> None:
    for name in (test for row in ELSEWHERE for test in row.tests):
        file, *path = name.split("::")
        body: Sequence[ast.stmt] = ast.parse((ROOT / file).read_text()).body
        for part in path:
            [found] = [one for one in body if isinstance(one, ast.ClassDef | ast.FunctionDef) and one.name == part]
            body = found.body


def test_reports_become_results(tmp_path: Path) -> None:
    cell = CELLS[0]
    (tmp_path / "a.xml").write_text(
        '<testsuites><testsuite><testcase classname="tests.support.test_cells" '
        f'name="test_cell[{cell.id}]@group"/>'
        '<testcase classname="tests.training.solo.test_deepspeed.TestAsWithout" '
        'name="test_one"><skipped message="DeepSpeed is not installed"/></testcase>'
        '<testcase classname="tests.e2e.test_function" name="test_two"><failure message="no"/></testcase>'
        "</testsuite></testsuites>"
    )
    results = read_reports([tmp_path / "a.xml"])
    assert results[f"tests/support/test_cells.py::test_cell[{cell.id}]"] == Result(state="passed")
    deepspeed = next(row for row in ELSEWHERE if row.subject.startswith("DeepSpeed"))
    assert covered_result(deepspeed, results) == "skipped: DeepSpeed is not installed"
    assert covered_result(FRAMEWORKS[0], results) == "1 failed"
    page = support_page(results)
    assert f"| `{cell.id}` | folder | {TASKS[cell.task].rows[cell.family]} | passed |" in page
    assert page.count("| not run |") > len(CELLS) - 2
