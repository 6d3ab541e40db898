"""Writes an answer to a text with a sequence-to-sequence model, such as T5: summaries, answers, translations."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from orchestrator.core.data import Origin, Source
from orchestrator.core.generation import GENERATION_METRICS
from orchestrator.objective.sequence_to_sequence import Seq2SeqLM

if TYPE_CHECKING:
    import datasets


class GenerationSeq2Seq(Seq2SeqLM):
    """The columns are ``text`` and ``target``; the sweep file maps them, and may set ``data.prompt``.

    Without a source of its own it writes the headlines of the default one.
    """

    name = "generation_seq2seq"
    default_source = Source(origin=Origin.PACKAGED, name="bbc-news")
    target = "target"
    generation_metrics = GENERATION_METRICS
    prompt = "{text}"

    def read(self, source: Source, columns: Mapping[str, str]) -> "datasets.Dataset":
        """Return the rows of a source; the target of the default source is its headline."""
        if source == self.default_source:
            columns = {"target": "headline", **columns}
        return super().read(source, columns)


OBJECTIVE = GenerationSeq2Seq()
