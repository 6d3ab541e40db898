"""The section ``generation``: how many answers are written and measured, and when."""

from typing import Annotated

from pydantic import Field

from orchestrator.core.metric import Metric
from orchestrator.core.tasks.generation import TIME_LIMIT_S, GenerationRequest
from orchestrator.core.tasks.objective_facts import ObjectiveFacts
from orchestrator.spec.document.problems import Problems
from orchestrator.spec.sections.fields import Rows, Seconds, Section, Tokens, Trials


class GenerationSection(Section):
    """Answers of a generative task at reports and after the search."""

    rows: Rows = Field(default=64, description="most validation rows answered at a report")
    test_rows: Rows = Field(
        default=256, description="most test rows answered by each kept adapter and by the baseline, after the search"
    )
    every: Trials | None = Field(
        default=4,
        description="answers are measured at every report with a multiple of this number, and at a trial's last one; "
        "null: at no report. 1 if the search uses a metric of answers",
    )
    max_new_tokens: Annotated[Tokens, Field(le=8192)] | None = Field(
        default=None, description="most tokens of an answer; if absent, the 99th percentile of the training targets"
    )
    time_limit: Seconds | None = Field(
        default=TIME_LIMIT_S,
        description="longest time for the answers of a model to the rows of one measurement: 90s, 20m, 1h; the rows "
        "left have an empty answer, and the report warns. null: no limit",
    )


def read_generation(
    section: GenerationSection | None,
    metric: Metric | None,
    rung: Metric | None,
    facts: ObjectiveFacts | None,
    problems: Problems,
) -> GenerationRequest:
    """Return the request; without a section, answers are measured at reports only if the search uses their metrics.

    Args:
        section: section of the sweep file; None: not written.
        metric: the goal of the search.
        rung: the metric compared at rungs; None: not written.
        facts: the objective's metrics.
        problems: receives a section without effect, and reports without a searched metric.
    """
    searched = facts is not None and _uses(facts, metric, rung)
    if section is None:
        return GenerationRequest(every=1 if searched else None, searched=searched)
    if facts is not None and facts.complete and not facts.generated:
        problems.add(("generation",), "the objective has no metrics of answers; remove the section", at_key=True)
    if searched and "every" in section.model_fields_set and section.every != 1:
        message = "the search uses a metric of answers, so trials need it at each report; 1 is needed here"
        problems.add(("generation", "every"), message)
    return GenerationRequest(
        rows=section.rows,
        test_rows=section.test_rows,
        every=1 if searched else section.every,
        max_new_tokens=section.max_new_tokens,
        time_limit_s=section.time_limit,
        searched=searched,
    )


def _uses(facts: ObjectiveFacts, metric: Metric | None, rung: Metric | None) -> bool:
    """Return whether the search compares trials by a metric of generated answers."""
    metrics = () if metric is None else metric.metrics
    names = [each.name for each in (*metrics, *([] if rung is None else [rung]))]
    names += [each.name for each in getattr(metric, "constraints", ())]
    return any(name.startswith("val/") and name.removeprefix("val/") in facts.generated for name in names)
