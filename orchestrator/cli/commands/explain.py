"""``explain``: sentences about the result of a sweep, and what to try next."""

from typing import TYPE_CHECKING

from orchestrator.cli.options import Json, SweepName
from orchestrator.cli.screen import Screen
from orchestrator.stores import find_sweep, logs_folder

if TYPE_CHECKING:
    from rich.table import Table

    from orchestrator.report.findings import Finding


def explain(name: SweepName, as_json: Json = False) -> None:
    """Explain a sweep: why it ended, which parameters mattered, which trials tie, and what to try next."""
    from dataclasses import asdict

    from rich.text import Text

    from orchestrator.report.explanation import explain as findings_of
    from orchestrator.report.stored_summary import stored_summary

    screen = Screen(as_json=as_json)
    ledger, sweep = find_sweep(name)
    with screen.quiet(logs_folder() / "report.log"):
        findings = findings_of(stored_summary(ledger, sweep))
        screen.show(Text(sweep.reference, style="bold"))
        screen.show(_table(findings))
        screen.emit({"sweep": sweep.reference, "findings": [asdict(finding) for finding in findings]})


def _table(findings: "tuple[Finding, ...]") -> "Table":
    """Return the findings, each topic named once; unknown ones are dim."""
    from rich.table import Table
    from rich.text import Text

    table, before = Table.grid(padding=(0, 2)), ""
    for finding in findings:
        topic = "" if finding.topic == before else finding.topic
        before = finding.topic
        table.add_row(topic, Text(finding.sentence, style="" if finding.known else "dim"))
    return table
