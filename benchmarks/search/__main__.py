"""Search policies compared at equal training samples, by replay of recorded trials.

    python -m benchmarks.search benchmarks/tables/*.parquet [--seeds 20] [--budget 8] [--only NAME] …
    python -m benchmarks.search --synthetic 3        (made-up tables: to try the command)

A run of a policy may spend as many training samples as ``--budget`` whole trials, in four slots. Each policy runs with
``--seeds`` seeds on every table, with the table's start points and once more without them (``--start`` or
``--no-start``: one variant only). The incumbent is the checkpoint with the best validation value so far; its quality is
its configuration's mean over seeds on the test split. Writes ``results.json``, ``results.md`` and a picture a variant
to ``--out``.
"""

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import optuna
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.search.compare import MARGIN, Comparison, Summary, compare, summarise
from benchmarks.search.markdown import markdown
from benchmarks.search.peft_table import read_peft_task
from benchmarks.search.picture import draw
from benchmarks.search.policies import POLICIES, REFERENCE_RIVAL
from benchmarks.search.quality import Quality, quality_of
from benchmarks.search.results import RunResult, run
from benchmarks.search.synthetic import synthetic_task
from benchmarks.search.task import read_task
from benchmarks.search.tinker_tables import read_tinker_tasks
from orchestrator.statistics.intervals import Interval

CONSOLE = Console(width=118)  # the tables, also in a file


def main(  # noqa: PLR0913, PLR0917  (the command's options)
    tables: Annotated[list[Path] | None, typer.Argument(help="trial tables: Parquet files")] = None,
    peft: Annotated[Path | None, typer.Option(help="the public table peft_metamathqa.csv as one more table")] = None,
    tinker: Annotated[
        Path | None, typer.Option(help="the public table tinker_sft_sweep.csv: a table for each base model")
    ] = None,
    synthetic: Annotated[int, typer.Option(help="number of made-up tables")] = 0,
    seeds: int = 20,
    budget: Annotated[float, typer.Option(help="training samples of a run, in whole trials")] = 8,
    only: Annotated[list[str] | None, typer.Option(help="policies; all by default")] = None,
    reference: Annotated[str, typer.Option(help="the policy that is compared with each other one")] = "now",
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="overrides for the policy now, as for a sweep")
    ] = None,
    start: Annotated[bool | None, typer.Option(help="one variant: with or without start points")] = None,
    out: Annotated[Path, typer.Option(help="folder for results.json and the pictures")] = Path("build/search"),
) -> None:
    """Run the policies, print their figures, write results and pictures."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    began = time.monotonic()
    policies = list(dict.fromkeys([*only, reference])) if only else list(POLICIES)
    tasks = [*map(read_task, tables or ()), *map(synthetic_task, range(synthetic))]
    if peft is not None:
        tasks.append(read_peft_task(peft))
    if tinker is not None:
        tasks += read_tinker_tasks(tinker)
    qualities = [quality_of(task) for task in tasks]
    _print_tables(qualities)
    out.mkdir(parents=True, exist_ok=True)
    written, pages = [], []
    for variant in (True, False) if start is None else (start,):
        title = "with start points" if variant else "without start points"
        with CONSOLE.status(title) as status:
            results = run(
                qualities,
                policies,
                seeds=seeds,
                budget=budget,
                start=variant,
                overrides=tuple(set_ or ()),
                progress=status.update,
            )
        ran = list(dict.fromkeys(one.policy for one in results))
        summaries = [summarise(results, policy) for policy in ran]
        comparisons = compare(results, reference, [policy for policy in ran if policy not in {reference, "oracle"}])
        _print_summaries(title, summaries)
        _print_comparisons(reference, comparisons)
        draw(results, budget, out / f"regret-{'start' if variant else 'no-start'}.png")
        written.append(_stored(variant, results, summaries, comparisons))
        pages.append(markdown(title, summaries, comparisons, reference=reference, rival=REFERENCE_RIVAL))
    settings = {"seeds": seeds, "set": set_ or [], "budget": budget, "reference": reference, "margin": MARGIN}
    content = {"settings": settings, "tables": [_table(one) for one in qualities], "variants": written}
    (out / "results.json").write_text(json.dumps(content, indent=1) + "\n")
    (out / "results.md").write_text("\n".join(pages))
    CONSOLE.print(f"{out}/results.json and results.md written after {time.monotonic() - began:.0f} s")


def _stored(
    start: bool, results: list[RunResult], summaries: list[Summary], comparisons: list[Comparison]
) -> dict[str, object]:
    return {
        "start": start,
        "policies": [asdict(one) for one in summaries],
        "comparisons": [asdict(one) for one in comparisons],
        "runs": [asdict(one) for one in results],
    }


def _table(quality: Quality) -> dict[str, object]:
    return {
        "name": quality.task.name,
        "configurations": len(quality.means),
        "full_samples": quality.task.full_samples,
        "seed_deviation": quality.seed_deviation,
        "choice_regret": quality.choice_regret,
        "best_cost": quality.best,
        "best_params": dict(quality.task.configurations[quality.best_configuration].params),
    }


def _print_tables(qualities: list[Quality]) -> None:
    shown = Table(title="tables", title_justify="left")
    for head in ("table", "configurations", "samples of a trial", "best cost", "deviation between seeds", "limit ¹"):
        shown.add_column(head, justify="left" if head == "table" else "right")
    for one in qualities:
        figures = (f"{each:.4f}" for each in (one.best, one.seed_deviation, one.choice_regret))
        shown.add_row(one.task.name, f"{len(one.means)}", f"{one.task.full_samples:,}", *figures)
    shown.caption = "¹ regret of the best by validation among all configurations, each trained once to its end."
    shown.caption_justify = "left"
    CONSOLE.print(shown)


def _print_summaries(title: str, summaries: list[Summary]) -> None:
    shown = Table(title=f"policies {title}", title_justify="left")
    heads = ("policy", "regret (95 %)", "worst table", "trials", "near best ¹", "of runs", "ASHA's samples ²")
    for head in heads:
        shown.add_column(head, justify="left" if head == "policy" else "right")
    for one in summaries:
        shown.add_row(
            one.policy,
            _text(one.regret),
            f"{one.worst_table:.4f}",
            f"{one.trials:.1f}",
            f"{one.reached:.2f}",
            f"{one.reached_share:.0%}",
            "" if one.speed is None else _text(one.speed, digits=2),
        )
    shown.caption = (
        "¹ samples until within one seed's standard deviation of the table's best, in whole trials, median. "
        f"² samples until the quality which {REFERENCE_RIVAL} ends with, over its own samples until there, median."
    )
    shown.caption_justify = "left"
    CONSOLE.print(shown)


def _print_comparisons(reference: str, comparisons: list[Comparison]) -> None:
    shown = Table(title=f"{reference} against", title_justify="left")
    for head in ("rival", "difference of regrets (95 %)", "better on", f"p (worse by {MARGIN:g}, Holm)"):
        shown.add_column(head, justify="left" if head == "rival" else "right")
    for one in comparisons:
        difference = _text(one.difference, signed=True)
        shown.add_row(one.rival, difference, f"{one.better} of {one.tables} tables", f"{one.p_worse:.3f}")
    CONSOLE.print(shown)


def _text(interval: Interval, *, digits: int = 4, signed: bool = False) -> str:
    sign = "+" if signed else ""
    return f"{interval.value:{sign}.{digits}f} ({interval.low:{sign}.{digits}f} to {interval.high:{sign}.{digits}f})"


if __name__ == "__main__":
    typer.run(main)
