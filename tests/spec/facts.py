"""What sweep files are checked against in these tests: two objectives and a few packaged names, none of them real."""

from orchestrator.core.data import Origin, Source
from orchestrator.core.errors import UserError
from orchestrator.core.metric import Direction
from orchestrator.core.objective_facts import ObjectiveFacts

PACKAGED = ("minilm", "smollm2", "vader-movie", "vader-product", "vader-nyt", "vader-tweets", "bbc-news")
CLASSIFICATION = ObjectiveFacts(
    metrics={"loss": Direction.MINIMIZE, "accuracy": Direction.MAXIMIZE, "macro_f1": Direction.MAXIMIZE},
    default_metric="val/accuracy",
    default_model=Source(origin=Origin.PACKAGED, name="minilm"),
    default_source=Source(origin=Origin.PACKAGED, name="vader-movie"),
)
LANGUAGE = ObjectiveFacts(
    metrics={"loss": Direction.MINIMIZE, "perplexity": Direction.MINIMIZE},
    default_metric="val/loss",
    default_model=Source(origin=Origin.PACKAGED, name="smollm2"),
    default_source=Source(origin=Origin.PACKAGED, name="bbc-news"),
)


def objective_facts(ref: str) -> ObjectiveFacts:
    if ref.endswith(".py"):
        return CLASSIFICATION
    known = {"sentiment": CLASSIFICATION, "headline": LANGUAGE}
    if ref not in known:
        raise UserError(f"there is no objective {ref!r}; there are: {', '.join(known)}")
    return known[ref]
