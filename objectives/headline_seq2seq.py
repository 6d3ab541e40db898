"""Writes the headline of a news article with a sequence-to-sequence model, such as ``hub:google-t5/t5-small``."""

from orchestrator.core.data import Origin, Source
from orchestrator.core.tasks.generation import GENERATION_METRICS
from orchestrator.objective.sequence_to_sequence import Seq2SeqLM


class HeadlineSeq2Seq(Seq2SeqLM):
    """Headline from the body of an article, with T5's own prompt for summaries."""

    name = "headline_seq2seq"
    default_source = Source(origin=Origin.PACKAGED, name="bbc-news")
    target = "headline"
    generation_metrics = GENERATION_METRICS
    prompt = "summarize: {text}"


OBJECTIVE = HeadlineSeq2Seq()
