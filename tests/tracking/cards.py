"""The card of an adapter without a sweep, and the example of an adapter's README as code."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from orchestrator.core.data import Origin, Source
from orchestrator.tracking.logged_models.adapters import AdapterCard


def made_card(base: Path | Source, **values: Any) -> AdapterCard:
    """Return the card of a classifier's adapter over a base model; ``values`` replace its fields."""
    source = base if isinstance(base, Source) else Source(origin=Origin.LOCAL, name=str(base))
    card = AdapterCard(
        base=source,
        base_path=source.name,
        head="sequence_classification",
        labels=("bad", "good"),
        max_length=32,
        objective="tiny",
        sweep="tiny#1",
        sweep_key="0" * 16,
        trial=0,
        samples=8,
        measured_at=0.0,
    )
    return replace(card, **values)


def readme_scope(folder: Path) -> dict[str, Any]:
    """Run the example of an adapter's README; return its names."""
    code = (folder / "README.md").read_text().partition("```python\n")[2].partition("```")[0]
    scope: dict[str, Any] = {}
    exec(code.replace("THIS FOLDER", str(folder)), scope)  # noqa: S102  (the README's own example)
    return scope
