"""Writes an answer to a text with a causal language model: summaries, answers to questions, translations."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from orchestrator.core.data import Origin, Source
from orchestrator.core.generation import GENERATION_METRICS
from orchestrator.objective.language_modelling import CausalLM

if TYPE_CHECKING:
    import datasets


class Generation(CausalLM):
    """The columns are ``text`` and ``target``; the sweep file maps them, and may set ``data.prompt``.

    Without a source of its own it writes the headlines of the default one.
    """

    name = "generation"
    default_source = Source(origin=Origin.PACKAGED, name="bbc-news")
    target = "target"
    generation_metrics = GENERATION_METRICS
    prompt = "{text}\n"

    def read(self, source: Source, columns: Mapping[str, str]) -> "datasets.Dataset":
        """Return the rows of a source; the target of the default source is its headline."""
        if source == self.default_source:
            columns = {"target": "headline", **columns}
        return super().read(source, columns)


OBJECTIVE = Generation()
