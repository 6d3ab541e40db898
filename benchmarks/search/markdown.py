"""The tables of ``benchmarks/RESULTS.md``: regret of each policy, and the comparison of one with each other."""

from collections.abc import Sequence

from benchmarks.search.compare import MARGIN, Comparison, Summary
from orchestrator.statistics.intervals import Interval

_HEADS = (
    "policy",
    "regret",
    "worst table",
    "trials",
    "near the best ᵃ",
    "samples to the rival's quality ᵇ",
    "{} less the policy (95 %)",
    "better on",
    f"p: worse by {MARGIN:g} or more",
)


def markdown(
    title: str, summaries: Sequence[Summary], comparisons: Sequence[Comparison], *, reference: str, rival: str
) -> str:
    """Return one variant as a Markdown table, with its title in bold and its notes.

    Args:
        title: what the variant is.
        summaries: one row each, in this order.
        comparisons: of the reference with other policies.
        reference: the compared policy.
        rival: the policy with the quality to reach.
    """
    heads = [head.format(reference) for head in _HEADS]
    compared = {one.rival: one for one in comparisons}
    rows = [_row(one, compared.get(one.policy)) for one in summaries]
    lines = [f"| {' | '.join(cells)} |" for cells in (heads, ["---"] * len(heads), *rows)]
    notes = (
        "ᵃ Share of the runs with an incumbent within one standard deviation between seeds of the table's best. "
        f"ᵇ Of {rival}, relative to its own samples until there; median."
    )
    return "\n".join([f"**{title}**", "", *lines, "", notes, ""])


def _row(summary: Summary, comparison: Comparison | None) -> list[str]:
    cells = [summary.policy, f"{summary.regret.value:.4f}", f"{summary.worst_table:.4f}", f"{summary.trials:.0f}"]
    cells += [f"{summary.reached_share:.0%}", "" if summary.speed is None else f"{summary.speed.value:.2f}"]
    if comparison is None:
        return [*cells, "", "", ""]
    better = f"{comparison.better} of {comparison.tables}"
    return [*cells, _interval(comparison.difference), better, f"{comparison.p_worse:.3f}"]


def _interval(interval: Interval) -> str:
    return f"{interval.value:+.4f} ({interval.low:+.4f} to {interval.high:+.4f})"
