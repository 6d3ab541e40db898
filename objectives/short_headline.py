"""Prefers the short headline of a news article to a padded one: pairs made from the packaged news."""

import zlib
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

from orchestrator.core.data import Origin, Source
from orchestrator.objective.preference.columns import Pair, pair_table
from orchestrator.objective.preference.objective import PreferencePairs

if TYPE_CHECKING:
    import datasets

_BEFORE = ("Breaking news:", "What you need to know:", "In today's top story:")
_AFTER = ("and here is everything we know so far", "as we report in full below", "and why it matters to all of us")


class ShortHeadline(PreferencePairs):
    """The chosen answer is the article's headline; the rejected one has an opening and an ending without content."""

    name = "short_headline"
    default_source = Source(origin=Origin.PACKAGED, name="bbc-news")
    prompt = "Article: {text}\nHeadline:"

    def read_pairs(self, source: Source, columns: Mapping[str, str], left_out: "Counter[str]") -> "datasets.Dataset":
        """Return a pair for each article."""
        from orchestrator.assets.data import read_table

        rows = read_table(source, columns, required=("text", "headline"), text=("text", "headline"))
        articles = zip(rows["text"][:], rows["headline"][:], strict=True)
        pairs = [
            Pair(prompt=text, chosen=f" {headline}", rejected=_padded(headline))
            for text, headline in articles
            if text and headline
        ]
        return pair_table(pairs, {}, left_out)


def _padded(headline: str) -> str:
    draw = zlib.crc32(headline.encode())  # the same words in every process
    before, after = _BEFORE[draw % len(_BEFORE)], _AFTER[draw // len(_BEFORE) % len(_AFTER)]
    return f" {before} {headline}, {after}"


OBJECTIVE = ShortHeadline()
