"""The metrics that early stopping needs at reports beside those of the validation split: their cost in words."""

from collections.abc import Mapping

from orchestrator.core.sweeps.plan import EnginePlan
from orchestrator.evaluation.forgetting import PREFIX, TEXTS, TOKENS


def early_text(plan: EnginePlan, rows: Mapping[str, int], row_tokens: float) -> str | None:
    """Return which of these metrics are measured at which reports, with their share of a trial's time; None: none are.

    The share is an estimate from numbers of tokens: training costs three times a forward. General text is counted with
    its most texts and tokens.

    Args:
        plan: plan of the engines.
        rows: number of rows by split; shift sets are named ``shift/<set>``.
        row_tokens: tokens of a row.
    """
    if not plan.early:
        return None
    points = plan.report_points
    reports = sum(point >= plan.early_from for point in points)
    sets = [name for name in rows if any(each.startswith(f"{name}/") for each in plan.early)]
    parts, tokens = [f"{rows[name]:,} rows of {name}" for name in sets], row_tokens * sum(rows[name] for name in sets)
    if any(each.startswith(PREFIX) for each in plan.early):
        parts.append(f"up to {TEXTS} general texts")
        tokens += TEXTS * TOKENS
    usual = len(points) * (rows["validation"] + min(plan.data.train_eval, rows["train"])) * row_tokens
    share = reports * tokens / (reports * tokens + usual + 3 * points[-1] * row_tokens)
    return (
        f"{' and '.join(parts)} at {reports} of {len(points)} reports, about {share:.0%} of a trial's time "
        "(estimate from tokens)"
    )
