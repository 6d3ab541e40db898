"""Failures after a search leave notes; the search, its leaderboard and the next run are complete."""

import threading
from pathlib import Path

import pytest
from rich.console import Console

from orchestrator.core.trials.trial import TrialState
from orchestrator.report.charts import CHARTS
from orchestrator.report.summary import Summary, summarise
from orchestrator.report.text import summary_text
from orchestrator.stores import read_spec
from orchestrator.sweep import SweepOptions, SweepResult, run_sweep
from tests.fakes.tiny_sweep import tiny_sweep

OBJECTIVE = """
from pathlib import Path

from objectives.sentiment import Sentiment

HERE = Path(__file__).parent


class Own(Sentiment):
    name = "own"

    def measure(self, pairs):
        if len(pairs) == BROKEN_ROWS and (HERE / "broken").exists():
            raise KeyError("no such class")
        return super().measure(pairs)

    def baseline(self, splits):
        if (HERE / "broken").exists():
            raise ValueError("a secret text " * 100 + "\\nand another line")
        return {"val/accuracy": 0.5, "test/accuracy": float("nan")}


OBJECTIVE = Own()
"""


pytestmark = pytest.mark.usefixtures("own_stores")


def broken_sweep(folder: Path, rows: int) -> Path:
    """Write a sweep with an objective which raises on a split of ``rows`` rows while the file ``broken`` exists."""
    file = tiny_sweep(folder)
    (folder / "own.py").write_text(OBJECTIVE.replace("BROKEN_ROWS", str(rows)))
    (folder / "broken").touch()
    file.write_text(file.read_text().replace("objective: sentiment", "objective: ./own.py"))
    return file


def run(file: Path, *overrides: str) -> SweepResult:
    spec = read_spec(file, overrides)
    return run_sweep(spec, SweepOptions(inline=True), (), threading.Event(), lambda _line: None)


def shown(summary: Summary) -> str:
    console = Console(width=500, record=True, file=None, quiet=True)
    with console.capture() as captured:
        console.quiet = False
        console.print(summary_text(summary))
    return captured.get()


def test_failed_closing_steps_are_noted_and_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unlucky(_: Summary) -> None:
        raise RuntimeError("no font")

    file = broken_sweep(tmp_path, rows=33)
    with monkeypatch.context() as patched:
        patched.setitem(CHARTS, "survival", unlucky)
        first = run(file, "data.test=33")
    assert first.finished
    assert [record.state for record in first.records] == [TrialState.COMPLETE] * 2
    notes = first.sweep.facts.notes
    (trial,) = (part for part in notes if part.startswith("trial"))
    assert notes.keys() == {"baseline", "chart survival", trial}
    assert notes["baseline"].startswith("no baseline: ")
    assert notes["chart survival"] == "no chart survival: RuntimeError: no font"
    assert "was not measured on the test split: " in notes[trial]
    assert all(len(note) < 500 and "\n" not in note for note in notes.values())
    page, text = Path(first.report).read_text(), shown(summarise(first.sweep, first.records))
    for note in notes.values():
        assert note.partition(":")[0] in page
        assert note in text
    assert "0 complete" not in text

    (tmp_path / "broken").unlink()
    again = run(file, "data.test=33")
    assert again.sweep.facts.notes == {}
    assert again.sweep.facts.baseline == {"val/accuracy": 0.5}
    assert any("test/accuracy" in record.final for record in again.records)
    assert [record.reports for record in again.records] == [record.reports for record in first.records]
    assert "no baseline" not in Path(again.report).read_text()


def test_open_engine_measures_all_kept_adapters(tmp_path: Path) -> None:
    spec = read_spec(tiny_sweep(tmp_path), ("tracking.keep_adapters=4", "budget.trials=4"))
    said: list[str] = []
    done = run_sweep(spec, SweepOptions(inline=True), (), threading.Event(), said.append)
    assert all("test/accuracy" in record.final for record in done.records)
    summary = summarise(done.sweep, done.records)
    assert all("test/accuracy" in row.intervals for row in summary.leaderboard.rows)
    assert "32 test rows" in str(summary.leaderboard.comparison_note)
    assert str(summary.leaderboard.comparison_note) in Path(done.report).read_text()
    assert len([line for line in said if line.startswith("measuring the kept adapters")]) == 1


def test_unmeasurable_shift_set_ends_no_search(tmp_path: Path) -> None:
    file = broken_sweep(tmp_path, rows=21)
    (tmp_path / "late.csv").write_text("text,label\n" + "".join(f"late number {i},{i % 2}\n" for i in range(21)))
    done = run(file, "data.shift={late: ./late.csv}", "budget.trials=1")
    assert done.finished
    (record,) = done.records
    assert record.state is TrialState.COMPLETE
    assert "test/accuracy" in record.final
    assert "its final metrics are missing" in done.sweep.facts.notes["trial 0, shift sets"]
    assert run(file, "data.shift={late: ./late.csv}", "budget.trials=1").records == done.records


def test_failed_report_is_noted(tmp_path: Path) -> None:
    file, folder = tiny_sweep(tmp_path), tmp_path / "home" / "sweeps" / "tiny-1"
    folder.mkdir(parents=True)
    (folder / "report").touch()  # a file where the folder should be
    done = run(file, "budget.trials=1")
    assert done.finished
    assert done.sweep.facts.notes["report"].startswith("no report: FileExistsError: ")


def test_general_text_added_later_is_measured(tmp_path: Path) -> None:
    file = tiny_sweep(tmp_path)
    first = run(file, "budget.trials=1")
    assert "forgetting/similarity" not in first.records[0].final
    (tmp_path / "texts.csv").write_text("text\n" + "".join(f"text {i} of {i % 7} words\n" for i in range(30)))
    again = run(file, "budget.trials=1", "data.general=./texts.csv")
    added = again.records[0].final.items() - first.records[0].final.items()
    assert [name for name, _ in added] == ["forgetting/similarity"]
    assert "forgetting similarity" in shown(summarise(again.sweep, again.records))
    assert run(file, "budget.trials=1", "data.general=./texts.csv").records == again.records
