"""The picture of a comparison: regret over training samples."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.search.results import RunResult
from benchmarks.search.style import CYCLE, MUTED, figure, theme

MOMENTS = 120
MOST_COLUMNS = 3


def draw(results: Sequence[RunResult], budget: float, path: Path) -> None:
    """Write one panel a table: each policy's mean regret over seeds, by training samples in whole trials."""
    tables = list(dict.fromkeys(one.table for one in results))
    policies = list(dict.fromkeys(one.policy for one in results))
    columns = min(MOST_COLUMNS, len(tables))
    rows = -(-len(tables) // columns)
    with theme():
        page = figure(4.6 * columns, 3.4 * rows + 0.6)
        axes = page.subplots(rows, columns, squeeze=False).flatten()
        moments = np.linspace(0, budget, MOMENTS)
        for panel, table in zip(axes, tables, strict=False):
            panel.set_title(table)
            panel.set_yscale("symlog", linthresh=0.002)
            panel.set_xlabel("training samples, in whole trials")
            panel.set_ylabel("mean regret on the test split")
            runs = [one for one in results if one.table == table]
            panel.axhline(runs[0].seed_deviation, color=MUTED, linestyle=":", linewidth=1)
            for index, policy in enumerate(policies):
                own = [one for one in runs if one.policy == policy]
                if own:
                    regrets = np.array([[one.regret_at(at * one.full_samples) for at in moments] for one in own])
                    style = "-" if index < len(CYCLE) else "--"
                    colour = CYCLE[index % len(CYCLE)]
                    panel.plot(moments, regrets.mean(axis=0), style, color=colour, label=policy, drawstyle="steps-post")
        for panel in axes[len(tables) :]:
            panel.set_axis_off()
        lines, names = axes[0].get_legend_handles_labels()
        page.legend(lines, names, loc="outside lower center", ncols=4)
        page.savefig(path)
