"""Write the headline of a news article. The loss is taken on the headline's tokens alone."""

from orchestrator.core.data import Origin, Source
from orchestrator.objective.language_modelling import CausalLM


class Headline(CausalLM):
    """From an article's body to its headline, with a causal language model."""

    name = "headline"
    default_source = Source(origin=Origin.PACKAGED, name="bbc-news")
    target = "headline"
    prompt = "Article: {text}\nHeadline:"


OBJECTIVE = Headline()
