"""Write the headline of a news article with a sequence-to-sequence model, such as ``hub:google-t5/t5-small``."""

from orchestrator.core.data import Origin, Source
from orchestrator.objective.sequence_to_sequence import Seq2SeqLM


class HeadlineSeq2Seq(Seq2SeqLM):
    """From an article's body to its headline; the prompt is the one that T5 was trained to summarise at."""

    name = "headline_seq2seq"
    default_source = Source(origin=Origin.PACKAGED, name="bbc-news")
    target = "headline"
    prompt = "summarize: {text}"


OBJECTIVE = HeadlineSeq2Seq()
