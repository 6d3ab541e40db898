"""Writes the headline of a news article with a causal language model."""

from orchestrator.core.data import Origin, Source
from orchestrator.core.tasks.generation import GENERATION_METRICS
from orchestrator.objective.language_modelling import CausalLM


class Headline(CausalLM):
    """Headline from the body of an article. The loss is on the headline's tokens only."""

    name = "headline"
    default_source = Source(origin=Origin.PACKAGED, name="bbc-news")
    target = "headline"
    generation_metrics = GENERATION_METRICS
    prompt = "Article: {text}\nHeadline:"


OBJECTIVE = Headline()
