"""The report as terminal text, JSON, CSV and HTML page."""

import csv
import html.parser
import io
import json
import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console, RenderableType

from orchestrator.core.metric import Direction
from orchestrator.core.sweeps.facts import SweepFacts
from orchestrator.core.sweeps.sweep import SweepStatus
from orchestrator.core.trials.trial import OUT_OF_MEMORY, Report, TrialState
from orchestrator.report import words
from orchestrator.report.charts.parameters import axis_labels, positions
from orchestrator.report.files import as_csv, as_table_json, draw, write_report
from orchestrator.report.fitting_table import Column, FittingTable
from orchestrator.report.html import render_page
from orchestrator.report.summary import Importances, Summary, as_json, next_commands, summarise
from orchestrator.report.text import commands_text, summary_text
from tests.report.examples import make_records, make_sweep, report, trial

IMPORTANCES = Importances(values={"learning_rate": 0.71, "rank": 0.29}, note="11 trials at 2,667 samples")


@pytest.fixture
def summary() -> Summary:
    return summarise(make_sweep(), make_records(), IMPORTANCES)


def shown(renderable: RenderableType, width: int) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(renderable)
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def test_wide_screen_shows_every_column(summary: Summary) -> None:
    text = shown(summary_text(summary), 140)
    for word in ("tweets", "product", "test", "dropout", "baseline", "0.7810", "0.640", "diverged", "other 23 %"):
        assert word in text
    assert "alpha" not in text  # equal in every trial


@pytest.mark.parametrize("width", [60, 80, 100])
def test_narrow_screen_hides_columns_but_no_digits(summary: Summary, width: int) -> None:
    text = shown(summary_text(summary), width)
    assert "…" not in text
    assert "0.8406" in text
    assert max(len(line) for line in text.splitlines()) <= width


def test_narrow_screen_names_hidden_columns(summary: Summary) -> None:
    message = " ".join(shown(summary_text(summary), 80).split())
    assert "hidden: terminal too narrow (see --json or the report): " in message
    assert "tweets accuracy" in message
    assert "terminal too narrow" not in shown(summary_text(summary), 140)


def test_unfinished_answers_are_a_note() -> None:
    slow = trial(3, {}, (report(3, 8, 0.0, val__accuracy=0.5, val__unfinished_answers=12.0),))
    baseline = {"untuned_0/test/unfinished_answers": 20.0}
    found = summarise(make_sweep(facts=SweepFacts(baseline=baseline)), [trial(1, {}, ()), slow])
    (note,) = found.notes
    assert note.startswith(
        "generation.time_limit ended answers of trial 3, the baseline: up to 20 rows of a measurement. They count as "
    )
    assert note in " ".join(shown(summary_text(found), 400).split())
    assert summarise(make_sweep(), make_records(), IMPORTANCES).notes == ()


@pytest.mark.parametrize("status", [SweepStatus.INTERRUPTED, SweepStatus.FINISHED])
def test_running_trial_of_stopped_sweep_is_suspended(status: SweepStatus) -> None:
    records = (replace(make_records()[0], state=TrialState.RUNNING, ended_at=None), make_records()[1])
    resting = summarise(make_sweep(status=status), records)
    text, page = shown(summary_text(resting), 120), render_page(resting, {})
    assert text.count("suspended") == 2  # in the table and in the line of states
    assert "running" not in text
    assert "1 suspended" in page
    assert 'class="suspended"' in page
    assert as_json(resting)["leaderboard"][0]["state"] == "running"
    going = summarise(make_sweep(status=SweepStatus.RUNNING), records)
    assert "suspended" not in shown(summary_text(going), 120)


@pytest.mark.parametrize("width", [60, 80, 200])
def test_winners_final_metrics_show_at_any_width(width: int) -> None:
    records = make_records()
    measured = {"test/accuracy": 0.838, "shift/product/accuracy": 0.72, "shift/nyt_2014/accuracy": 0.6149}
    won = replace(records[7], final={**measured, "test/loss": 0.4})
    text = shown(summary_text(summarise(make_sweep(), (*records[:7], won))), width)
    assert "winner     trial 7 · test accuracy 0.838 (baseline 0.774)" in text
    assert "shift: nyt 2014 0.615 · product 0.720" in text


def test_unmeasured_final_metrics_are_omitted() -> None:
    records = make_records()
    only_shift = shown(summary_text(summarise(make_sweep(), records)), 80)  # the winner's adapter is unmeasured
    assert "winner     trial 7 · shift: product 0." in only_shift
    assert "test accuracy 0." not in only_shift
    bare = tuple(replace(record, final={}) for record in records)
    assert "winner" not in shown(summary_text(summarise(make_sweep(), bare)), 80)
    tested = tuple(replace(record, final={"test/accuracy": 0.9}) for record in records)
    alone = shown(summary_text(summarise(make_sweep(facts=SweepFacts()), tested)), 80)
    assert "winner     trial 7 · test accuracy 0.900\n" in "\n".join(line.rstrip() for line in alone.splitlines())


@pytest.mark.parametrize(("value", "message"), [(0.5, False), (0.9, True)])
def test_winner_below_baseline_is_reported(value: float, *, message: bool) -> None:
    sweep = make_sweep()
    told_of = summarise(replace(sweep, facts=replace(sweep.facts, baseline={"val/accuracy": value})), make_records())
    assert ("No trial is better than the baseline" in shown(summary_text(told_of), 120)) == message
    assert ("No trial is better than the baseline" in render_page(told_of, {})) == message


def test_report_names_trials_without_memory(summary: Summary, tmp_path: Path) -> None:
    failed = replace(summary.records[0], state=TrialState.FAIL, reason=f"{OUT_OF_MEMORY}crashed 2 times", reports=())
    short = summarise(make_sweep(), (failed, *summary.records[1:]))
    assert summary.out_of_memory is None
    assert str(short.out_of_memory).startswith("Out of memory: trial 0 (batch_size ")
    assert "Out of memory: trial 0" in shown(summary_text(short), 160)
    assert "Out of memory: trial 0" in write_report(tmp_path, short)[0].read_text()


def test_limit_names_number_of_hidden_trials(summary: Summary) -> None:
    assert "and 9 more (report --limit 12)" in shown(summary_text(summary, limit=3), 120)
    assert "more, on the report's page" not in shown(summary_text(summary), 120)


def test_commands_are_never_truncated(summary: Summary) -> None:
    console = Console(file=io.StringIO(), width=40)
    console.print(commands_text(next_commands("sentiment#1", 3), 40), soft_wrap=True)
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert lines[4:6] == ["register the winner", "  python -m orchestrator promote 'sentiment#1'"]
    wide = commands_text(next_commands("sentiment#1", 3), 100).plain.splitlines()
    assert wide[2] == "register the winner     python -m orchestrator promote 'sentiment#1'"
    commands = dict(
        next_commands("sentiment", 3, program=".venv/bin/python -m orchestrator", place=" --tracking-uri x")
    )
    assert (
        commands["predict with it"] == '.venv/bin/python -m orchestrator predict sentiment "some text" --tracking-uri x'
    )
    assert all(command.startswith(".venv/bin/python -m orchestrator ") for command in commands.values())
    of_pairs = dict(next_commands("pairs", 3, pair_column="second text"))
    assert of_pairs["predict with it"].endswith("predict pairs --file ROWS.csv --pair-column 'second text'")
    assert [purpose for purpose, _ in next_commands("sentiment", None)] == ["explain the results", "browse in MLflow"]


def test_next_steps_use_force_below_baseline(summary: Summary) -> None:
    board = summary.leaderboard
    assert board.best is not None
    assert board.best.score is not None
    for gain, expected in ((0.01, True), (0.0, False), (-0.01, False)):
        changed = replace(board, baseline={board.metric.name: board.best.score + gain})
        assert changed.below_baseline is expected
        page = render_page(replace(summary, leaderboard=changed), {})
        assert ("promote &#39;sentiment#1&#39; --force --reason" in page) is expected


def test_json_is_strict_and_names_winner(summary: Summary) -> None:
    plain = json.loads(json.dumps(as_json(summary), allow_nan=False))
    assert (plain["sweep"], plain["best"], plain["status"]) == ("sentiment#1", 7, "finished")
    assert plain["trials"] == {"complete": 8, "pruned": 3, "fail": 1}
    assert plain["leaderboard"][-1]["score"] is None
    assert plain["tokens"] == 20 * (8 * 8000 + 3 * 2667 + 1333)


def test_csv_has_one_row_per_trial(summary: Summary) -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv(summary.leaderboard))))
    assert [row["trial"] for row in rows[:2]] == ["7", "2"]
    assert float(rows[0]["val/accuracy"]) == summary.leaderboard.rows[0].score
    assert rows[-1]["reason"].startswith("diverged")


def test_json_table_has_full_precision_without_nan() -> None:
    trials = (
        trial(0, {"rank": 4}, (report(0, 8, 0.0, val__accuracy=1 / 3, val__loss=math.nan),), final={"test/f1": 0.5}),
    )
    board = summarise(make_sweep(), (*trials, trial(1, {"dropout": 0.1}, (), reason="a, b"))).leaderboard
    document = json.loads(as_table_json(board), parse_constant=pytest.fail)
    best, other = (dict(zip(document["columns"], row, strict=True)) for row in document["data"])
    assert (best["place"], best["trial"], best["val/accuracy"], best["val/loss"]) == (1, 0, 1 / 3, None)
    assert (best["test/f1"], best["rank"], best["dropout"]) == (0.5, 4, None)
    assert (other["trial"], other["dropout"], other["reason"]) == (1, 0.1, "a, b")
    header, *rows = csv.reader(io.StringIO(as_csv(board)))
    assert header == document["columns"]
    assert len(rows) == 2


class Page(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.outside: list[str] = []
        self.cells = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.cells += tag == "td"
        self.outside += [
            v or "" for n, v in attrs if n in {"src", "href", "srcset"} and not (v or "").startswith("data:")
        ]


def test_report_page_needs_no_network(summary: Summary, tmp_path: Path) -> None:
    (tmp_path / "gone.png").write_bytes(b"of an earlier report")
    files = write_report(tmp_path, summary)
    assert files[0].name == "index.html"
    assert {path.name for path in files} == {path.name for path in tmp_path.iterdir()}
    page = Page()
    page.feed(files[0].read_text())
    assert page.outside == []
    assert page.cells == 13 * (7 + 3 + 4)  # trials and the baseline; measured, final and varied columns


def scored(number: int) -> Report:
    return report(number, 8, 0.0, val__accuracy=number / 10)


def test_same_ledger_gives_same_page(summary: Summary) -> None:
    again = summarise(make_sweep(), make_records(), IMPORTANCES)
    assert render_page(summary, draw(summary)) == render_page(again, draw(again))


def test_page_escapes_user_text(tmp_path: Path) -> None:
    hostile = "</script><script>alert(1)</script>"
    failed = trial(0, {"rank": 4, "target_modules": hostile}, (), state=TrialState.FAIL, reason=hostile)
    tried = [trial(number, {"rank": 4, "target_modules": f"{hostile}{number}"}, (scored(number),)) for number in (1, 2)]
    sweep = make_sweep(spec_text="description: <b>bold</b>", facts=SweepFacts())
    text = write_report(tmp_path, summarise(sweep, [failed, *tried]))[0].read_text()
    assert "parallel_coordinates" in text  # the chart with the hostile value
    assert "alert(1)" in text
    assert "<script>alert" not in text
    assert "<b>bold" not in text
    assert "<" not in text.partition('id="chart-data">')[2].partition("</script>")[0]


def test_page_masks_stored_password(tmp_path: Path) -> None:
    sweep = make_sweep(spec_text="tracking: {uri: 'https://ann:pw-1@host'}", facts=SweepFacts())
    text = write_report(tmp_path, summarise(sweep, []))[0].read_text()
    assert "pw-1" not in text
    assert "https://ann:***@host" in text


@pytest.mark.parametrize("count", [0, 1])
def test_sweep_without_results_can_be_reported(count: int, tmp_path: Path) -> None:
    sweep = make_sweep(status=SweepStatus.RUNNING, facts=SweepFacts())
    summary = summarise(sweep, make_records(count), Importances(note="too few trials"))
    assert "parallel_coordinates" not in draw(summary)
    assert (summary.time is None) == (count == 0)
    text = write_report(tmp_path, summary)[0].read_text()
    assert "too few trials" in text
    assert ("no trials yet" in shown(summary_text(summary), 80)) == (count == 0)


def test_minimised_metric_is_drawn_downwards(tmp_path: Path) -> None:
    metric = {"name": "val/loss", "direction": "minimize"}
    summary = summarise(make_sweep(fingerprint={"metric": metric}, facts=SweepFacts()), make_records())
    assert summary.leaderboard.metric.direction is Direction.MINIMIZE
    header = write_report(tmp_path, summary)[-1].parent.joinpath("leaderboard.csv").read_text().splitlines()[0]
    assert header.split(",").count("val/loss") == 1
    assert "splits" in draw(summary)


def test_axes_are_scaled_by_value_type() -> None:
    assert positions([1, 3, 2]) == [0.0, 1.0, 0.5]
    assert positions([1e-4, 1e-2, 1e-3]) == pytest.approx([0.0, 1.0, 0.5])
    assert positions(["b", "a", None]) == [1.0, 0.0, -0.08]
    assert positions([True, False]) == [1.0, 0.0]
    assert axis_labels([4, 8, 4]) == [(0.0, "4"), (1.0, "8")]
    assert [text for _, text in axis_labels([n / 10 for n in range(11)])] == ["0", "0.25", "0.5", "0.75", "1"]
    assert [text for _, text in axis_labels([10.0**-n for n in range(7)])][::4] == ["1e-6", "1"]
    assert [text for _, text in axis_labels([0.49, 0.508, 0.51, 0.73])] == ["0.49", "0.508", "0.73"]


@pytest.mark.parametrize(
    ("value", "text"), [(2.4e-4, "2.4e-4"), (0.05, "0.05"), (0.0, "0"), (16, "16"), (True, "true"), (None, "null")]
)
def test_parameter_values_are_short(value: float | bool | None, text: str) -> None:
    assert words.param(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(8.4, "8 s"), (59.6, "1 min 00 s"), (200, "3 min 20 s"), (7500, "2 h 05 min")]
)
def test_durations_are_readable(seconds: float, text: str) -> None:
    assert words.duration(seconds) == text
    assert words.size(1_250_000) == "1.2 MB"


@pytest.mark.parametrize("width", [30, 40, 80, 140])
def test_narrow_terminal_hides_columns_never_cells(width: int) -> None:
    heads = (("name", 0), ("score", 0), ("time", 2), ("metric", 1))
    cells = {"name": ["a-sweep-of-mine#1"], "score": ["0.8706"], "time": ["9 min 25 s"], "metric": ["accuracy"]}
    columns = [Column(head=head, cells=cells[head], name=head, priority=priority) for head, priority in heads]
    text = shown(FittingTable(columns=columns, styles=[None]), width)
    shown_heads = [head for head, _ in heads if re.search(rf"\b{head}\b", text.splitlines()[1])]
    assert shown_heads == {30: ["name", "score"], 40: ["name", "score", "metric"]}.get(width, [*cells])
    assert all(cells[head][0] in text for head in shown_heads)
    assert "…" not in text
