"""Real sweeps with other seeds: is the winner as good as its interval says?

``python -m benchmarks.real_sweeps [--sweeps 5] [--fresh 4]`` runs the search of the table ``few-shot`` (200 training
and 200 validation rows) with other splits and other seeds. The winner of each is trained again with fresh seeds. Their
mean on 2,000 test rows is nearly the truth: its own standard error is about 0.013. It is compared with two intervals of
the winner's validation accuracy: corrected for the choice, and the usual one of the rows alone.

A few sweeps are a check of the whole path. The coverage is measured by ``python -m benchmarks.intervals``.
"""

import os
import tempfile
import threading
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.core.system.environment import set_environment_defaults

SWEEP = Path(__file__).parent / "tables" / "few-shot.yaml"
SEARCH = (
    "name=few-shot-again",
    "data.test=2000",
    "early_stopping={rule: asha, metric: val/loss, reports: 12}",
    "search.sampler=surrogate",
    "budget.trials=12",
    "resources.parallel_trials=4",
    "tracking.keep_adapters=3",  # the correction needs the rows of further trials
)


def main(
    sweeps: Annotated[int, typer.Option(min=1, help="Number of sweeps.")] = 5,
    fresh: Annotated[int, typer.Option(min=2, help="Fresh seeds of each winner.")] = 4,
) -> None:
    """Run the sweeps and print a line for each."""
    covered = []
    with tempfile.TemporaryDirectory(prefix="real-sweeps-", ignore_cleanup_errors=True) as home:
        os.environ |= {"LORATORY_HOME": f"{home}/home", "LORATORY_MLFLOW_DIR": f"{home}/mlflow"}
        set_environment_defaults()
        for number in range(sweeps):
            overrides = (f"seed={100 + number}", f"data.seed={100 + number}", f"confirm={{top: 1, seeds: {fresh}}}")
            covered.append(_sweep((*SEARCH, *overrides)))
    for name, found in zip(("corrected", "rows alone"), zip(*covered, strict=True), strict=True):
        typer.echo(f"{name}: the truth is inside in {sum(found)} of {sweeps} sweeps")


def _sweep(overrides: tuple[str, ...]) -> tuple[bool, bool]:
    """Run one sweep; return whether the truth is inside of the corrected interval, and of that of the rows alone."""
    from orchestrator.evaluation.scores.winner_score import corrected_winner
    from orchestrator.ledger.home import sweep_dir
    from orchestrator.report.confirmation import confirmation_scores
    from orchestrator.statistics.intervals import wilson_interval
    from orchestrator.stores import read_spec
    from orchestrator.sweep import SweepOptions, run_sweep

    spec = read_spec(SWEEP, overrides)
    options = SweepOptions(inline=True, fresh=True)
    result = run_sweep(spec, options, (), threading.Event(), lambda line: typer.echo(line, err=True))
    rows, folder = result.sweep.facts.rows, sweep_dir(result.sweep)
    score = corrected_winner(folder, result.records, spec.metric, rows["train"])
    confirmed = confirmation_scores(folder, result.records, spec.metric, rows["train"])[0]
    assert score is not None
    assert confirmed.test is not None
    naive = wilson_interval(round(score.raw * rows["validation"]), rows["validation"])
    inside = score.low <= confirmed.test <= score.high, naive.low <= confirmed.test <= naive.high
    typer.echo(
        f"trial {score.trial}: val/accuracy {score.raw:.3f}; corrected {score.value:.3f} [{score.low:.3f}, "
        f"{score.high:.3f}]; rows alone [{naive.low:.3f}, {naive.high:.3f}]; {len(confirmed.values)} fresh seeds on "
        f"{rows['test']:,} test rows {confirmed.test:.3f}"
    )
    return inside


if __name__ == "__main__":
    typer.run(main)
