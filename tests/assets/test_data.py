"""The asset contract for each origin, and tests of single origins."""

import os
from collections import Counter
from pathlib import Path
from typing import Any

import datasets
import huggingface_hub.constants
import pytest

from orchestrator.assets.cache import cache_root, quiet_hugging_face
from orchestrator.assets.data import read_table
from orchestrator.core.data import Origin, Source
from orchestrator.core.errors import AssetError, DataError, UserError
from tests.contracts.asset_contract import AssetContract

ROWS = {"text": ["good", "bad", "fine, really", "awful\nin two lines"], "label": [1, 0, 1, 0]}


def local(path: Path) -> Source:
    return Source(origin=Origin.LOCAL, name=str(path))


def packaged(name: str) -> Source:
    return Source(origin=Origin.PACKAGED, name=name)


class TestPackaged(AssetContract):
    @pytest.fixture(params=["vader-movie", "vader-product", "movie-reviews-rt", "bbc-news"])
    def source(self, request: pytest.FixtureRequest) -> Source:
        return packaged(request.param)

    @pytest.fixture
    def missing(self) -> Source:
        return packaged("no-such-set")


class TestLocal(AssetContract):
    @pytest.fixture(params=["csv", "tsv", "json", "jsonl", "parquet"])
    def source(self, request: pytest.FixtureRequest, tmp_path: Path) -> Source:
        table, path = datasets.Dataset.from_dict(ROWS), tmp_path / f"rows.{request.param}"
        if request.param in ("csv", "tsv"):
            table.to_csv(str(path), sep="," if request.param == "csv" else "\t", index=False)
        elif request.param == "parquet":
            table.to_parquet(str(path))
        else:
            table.to_json(str(path), lines=request.param == "jsonl")
        return local(path)

    @pytest.fixture
    def missing(self, tmp_path: Path) -> Source:
        return local(tmp_path / "absent.csv")


def test_suggested_text_column_has_texts(tmp_path: Path) -> None:
    table = {"text": ["a", "b"], "targets": [1, 2], "target text": ["c", "d"]}
    datasets.Dataset.from_dict(table).to_parquet(str(tmp_path / "rows.parquet"))
    with pytest.raises(DataError, match=r"column 'target' not found .*Set data\.columns: {target: target text}"):
        read_table(local(tmp_path / "rows.parquet"), required=("text", "target"), text=("text", "target"))
    datasets.Dataset.from_dict({"text": ["a"], "group": ["b"]}).to_parquet(str(tmp_path / "rows.parquet"))
    with pytest.raises(DataError, match=r"column 'groups' not found .*Set data\.columns: {slice/x: COLUMN}"):
        read_table(local(tmp_path / "rows.parquet"), {"slice/x": "groups"})


def test_column_may_have_two_uses(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("text,shop\na,x\nb,y\n")
    rows = read_table(local(tmp_path / "rows.csv"), {"group": "shop", "slice/shop": "shop"}, text=("text",))
    assert sorted(rows.column_names) == ["group", "slice/shop", "text"]
    assert rows["group"][:] == rows["slice/shop"][:] == ["x", "y"]


class TestHub(AssetContract):
    """The hub's boundary is ``datasets.load_dataset``; the fake has one data set."""

    @pytest.fixture(autouse=True)
    def hub(self, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
        calls: list[dict[str, Any]] = []

        def load_dataset(name: str, config: str | None = None, **arguments: object) -> datasets.Dataset:
            calls.append({"name": name, "config": config, **arguments})
            if name != "org/rows":
                raise datasets.exceptions.DatasetNotFoundError(f"Dataset '{name}' doesn't exist on the Hub")
            if arguments["split"] not in ("train", "test"):
                raise ValueError(f"Unknown split \"{arguments['split']}\". Should be one of ['train', 'test'].")
            return datasets.Dataset.from_dict(ROWS)

        monkeypatch.setattr(datasets, "load_dataset", load_dataset)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)  # no requests
        return calls

    @pytest.fixture
    def source(self) -> Source:
        return Source(origin=Origin.HUB, name="org/rows")

    @pytest.fixture
    def missing(self) -> Source:
        return Source(origin=Origin.HUB, name="org/absent")

    def test_configuration_split_and_revision_are_passed_on(self, hub: list[dict[str, Any]]) -> None:
        read_table(Source(origin=Origin.HUB, name="org/rows", config="en", split="test", revision="v2"))
        read_table(Source(origin=Origin.HUB, name="org/rows"))
        assert [(call["config"], call["split"], call["revision"]) for call in hub] == [
            ("en", "test", "v2"),
            (None, "train", None),
        ]

    def test_unknown_split_lists_known_ones(self) -> None:
        with pytest.raises(DataError, match=r"data set hub:org/rows: Unknown split .*'train', 'test'"):
            read_table(Source(origin=Origin.HUB, name="org/rows", split="dev"))

    def test_text_columns_need_text(self) -> None:
        source = Source(origin=Origin.HUB, name="org/rows")
        assert read_table(source, text=("text",))["text"][:] == ROWS["text"]
        with pytest.raises(DataError, match=r"column label of hub:org/rows has integers \(row 1: 1\); text is needed"):
            read_table(source, {"text": "label"}, text=("text",))

    def test_unreachable_hub_message_has_remedy(self, missing: Source) -> None:
        with pytest.raises(
            AssetError, match=r"data set hub:org/absent could not be loaded(.|\n)*HF_TOKEN.*HF_HUB_OFFLINE"
        ):
            read_table(missing)


def test_offline_hub_message_has_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(AssetError, match=r"hub:org/never-downloaded could not be loaded(.|\n)*Check the name"):
        read_table(Source(origin=Origin.HUB, name="org/never-downloaded"))


def test_changed_file_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("text,label\na,1\n")
    stat = path.stat()
    assert read_table(local(path))["text"][:] == ["a"]
    path.write_text("text,label\nb,1\n")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert read_table(local(path))["text"][:] == ["b"]


def test_a_packaged_model_is_no_data() -> None:
    with pytest.raises(UserError, match="minilm is a packaged model; data is needed"):
        read_table(packaged("minilm"))


@pytest.mark.parametrize(
    ("name", "rows", "positive"),
    [
        ("vader-movie", 10_072, 4_996),
        ("vader-product", 2_985, 1_750),
        ("vader-nyt", 2_970, 1_187),
        ("vader-tweets", 3_432, 2_345),
        ("movie-reviews-imdb", 25_000, 12_500),
        ("movie-reviews-rt", 8_530, 4_265),
    ],
)
def test_the_sentiment_sets_have_the_known_counts(name: str, rows: int, positive: int) -> None:
    assert Counter(read_table(packaged(name))["label"]) == {0: rows - positive, 1: positive}


@pytest.mark.parametrize(
    ("name", "rows", "neutral"), [("movie", 10_605, 533), ("product", 3_708, 723), ("nyt", 5_190, 2_220)]
)
def test_ratings_have_the_signs_of_the_labels(name: str, rows: int, neutral: int) -> None:
    rated, signs = read_table(packaged(f"vader-{name}-ratings")), read_table(packaged(f"vader-{name}"))
    clear = [rating for rating in rated["label"] if abs(rating) >= 0.5]
    assert (len(rated), len(rated) - len(clear)) == (rows, neutral)
    assert [int(rating > 0) for rating in clear] == signs["label"][:]
    assert all(-4 <= rating <= 4 for rating in rated["label"])


def test_sentences_know_their_document() -> None:
    rows = read_table(packaged("vader-product"))
    assert len(set(rows["group"])) == 298
    assert "group" not in read_table(packaged("vader-movie")).column_names


def test_news_articles_are_unique() -> None:
    rows = read_table(packaged("bbc-news"))
    assert len(rows) == len(set(zip(rows["headline"], rows["text"], rows["label"], strict=True)))
    assert Counter(rows["label"]) == {
        "sports": 503,
        "business": 503,
        "politics": 403,
        "entertainment": 369,
        "tech": 347,
    }
    assert rows[0]["headline"] == "Ad sales boost Time Warner profit"
    assert not any("\ufffd" in text for text in rows["text"])


def test_variable_sets_the_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORATORY_CACHE", str(tmp_path))
    assert cache_root() == tmp_path
    monkeypatch.delenv("LORATORY_CACHE")
    assert cache_root().name == "loratory"


def test_telemetry_is_off_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_DISABLE_TELEMETRY", raising=False)
    quiet_hugging_face()
    assert os.environ["HF_HUB_DISABLE_TELEMETRY"] == "1"
    monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "0")
    quiet_hugging_face()
    assert os.environ["HF_HUB_DISABLE_TELEMETRY"] == "0"
