"""The data sets made from the packaged BBC news by rules.

The rules find every label, so the same rows are made everywhere. They are written to the cache at the first use; the
checksum of the file is fixed.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from orchestrator.assets.build_once import build_in_cache
from orchestrator.assets.derived_news import Articles, Row, entity_rows, question_rows
from orchestrator.assets.derived_tasks import answer_rows, mention_rows, pair_rows
from orchestrator.assets.fetch import verify


@dataclass(frozen=True, kw_only=True, slots=True)
class DerivedSet:
    """A data set made by rules.

    Attributes:
        rows: makes its rows from the articles.
        sha256: checksum of the rows as JSON Lines.
    """

    rows: Callable[[Articles], Iterator[Row]]
    sha256: str


DERIVED_SETS: Mapping[str, DerivedSet] = {
    "news-entities": DerivedSet(
        rows=entity_rows, sha256="d1eacf5640d9f6a90ec1dae3f66c1ed61701d2f860c8735e3b9cbb241f940a00"
    ),
    "news-questions": DerivedSet(
        rows=question_rows, sha256="616196063e1a108e52fb66b6c36d4e90bcf004aeefee18ced86a20a89af3e8cf"
    ),
    "news-pairs": DerivedSet(rows=pair_rows, sha256="e8bd02245e4579b6eba6991d5ab2d1dec474851d3e836717ed26e9007b85fe7b"),
    "news-mentions": DerivedSet(
        rows=mention_rows, sha256="a8346cd2c2b88b606405c9bc8a470fdd2be832785b43cd1b48c3e9e00fa0ac2b"
    ),
    "news-answers": DerivedSet(
        rows=answer_rows, sha256="c6ccbdf06d271134440c0ac74664d495263fab4cab9f8b0d7373e406524067e8"
    ),
}
"""The made data sets by name."""


def derived_news(name: str, articles: Callable[[], Articles]) -> list[Row]:
    """Return the rows of a made data set; make its file in the cache if it is absent.

    Args:
        name: a key of ``DERIVED_SETS``.
        articles: returns the articles; called only to make the file.

    Raises:
        AssetError: the made file has another checksum, or the cache folder cannot be created.
    """
    derived = DERIVED_SETS[name]

    def make(scratch: Path) -> Path:
        lines = (json.dumps(row, ensure_ascii=False) for row in derived.rows(articles()))
        file = scratch / "made" / "rows.jsonl"
        file.parent.mkdir()
        file.write_bytes("".join(f"{line}\n" for line in lines).encode())
        verify(file, derived.sha256)
        return file.parent

    file = build_in_cache(f"{name}-{derived.sha256[:8]}", make) / "rows.jsonl"
    with file.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]
