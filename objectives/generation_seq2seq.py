"""Writes an answer to a text with a sequence-to-sequence model, such as T5: summaries, answers, translations."""

from orchestrator.objective.generation import WrittenTarget
from orchestrator.objective.sequence_to_sequence import Seq2SeqLM


class GenerationSeq2Seq(WrittenTarget, Seq2SeqLM):
    """The columns are ``text`` and ``target``; see ``WrittenTarget``."""

    name = "generation_seq2seq"


OBJECTIVE = GenerationSeq2Seq()
