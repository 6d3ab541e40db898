"""Writes an answer to a text with a causal language model: summaries, answers to questions, translations."""

from orchestrator.objective.generation import WrittenTarget
from orchestrator.objective.language_modelling import CausalLM


class Generation(WrittenTarget, CausalLM):
    """The columns are ``text`` and ``target``; see ``WrittenTarget``."""

    name = "generation"


OBJECTIVE = Generation()
