"""The README of an adapter: the location of its base on every machine, and readable numbers."""

import dataclasses
from pathlib import Path

import pytest

from orchestrator.assets.catalogue import CATALOGUE, Kind
from orchestrator.core.data import Origin, Source
from orchestrator.core.sweeps.facts import SweepFacts
from orchestrator.evaluation.scores.score_intervals import MetricInterval
from orchestrator.tracking.cards.model_card import GateLine, model_card, version_description
from orchestrator.tracking.logged_models.adapters import AdapterCard, SplitData, split_data
from tests.tracking.cards import made_card
from tests.tracking.records import sweep


def card(base: Source, base_path: str, labels: tuple[str, ...] = ("bad", "good"), **metrics: float) -> AdapterCard:
    return made_card(
        base,
        base_path=base_path,
        head="sequence_classification" if labels else "causal_lm",
        labels=labels,
        objective="sentiment",
        sweep="films#1",
        trial=3,
        samples=4000,
        prompt="{text} =>",
        metrics={name.replace("__", "/"): value for name, value in metrics.items()},
    )


def test_language_model_loads_with_its_class() -> None:
    base = card(Source(origin=Origin.HUB, name="org/base"), "org/base", labels=())
    for head, auto, tag in (
        ("causal_lm", "AutoModelForCausalLM", "text-generation"),
        ("seq2seq_lm", "AutoModelForSeq2SeqLM", "text2text-generation"),
    ):
        readme = model_card(dataclasses.replace(base, head=head))
        assert f"\npipeline_tag: {tag}\n" in readme
        code = readme.partition("```python\n")[2].partition("```")[0]
        assert f"import {auto}, AutoTokenizer\n" in code
        assert f'model = {auto}.from_pretrained(base, dtype="float32")\n' in code
        compile(code, "README.md", "exec")


def test_pairs_are_named() -> None:
    base = card(Source(origin=Origin.HUB, name="org/base"), "org/base", labels=("no", "yes"))
    assert "classifies a text as `no` or `yes`" in model_card(base)
    readme = model_card(dataclasses.replace(base, pair_column="hypothesis"))
    assert "classifies a pair of texts as `no` or `yes`" in readme
    assert "- Every pair of texts gets one of the classes" in readme


def packaged(name: str, path: str, **metrics: float) -> str:
    labels = ("bad", "good") if name == "minilm" else ()
    return model_card(card(Source(origin=Origin.PACKAGED, name=name), path, labels, **metrics))


def base_of(readme: str) -> object:
    """Run the example up to the definition of ``base``."""
    code = readme.partition("```python\n")[2].partition("```")[0]
    lines = [line for line in code.splitlines() if line.startswith(("base =", "from pathlib"))]
    scope: dict[str, object] = {}
    exec("\n".join(lines), scope)  # noqa: S102  (the README's own example)
    return scope["base"]


@pytest.mark.parametrize("name", [asset.name for asset in CATALOGUE.values() if asset.kind is Kind.MODEL])
def test_packaged_base_is_local_or_from_hub(name: str, tmp_path: Path) -> None:
    hub = CATALOGUE[name].hub
    assert hub is not None
    assert hub.count("/") == 1
    here = packaged(name, str(tmp_path))
    assert f"\nbase_model: {hub}\n" in here.partition("\n---\n")[0] + "\n"
    assert base_of(here) == str(tmp_path)
    assert base_of(packaged(name, str(tmp_path / "gone"))) == hub
    compile(here.partition("```python\n")[2].partition("```")[0], "README.md", "exec")


def test_card_mentions_a_modified_copy(tmp_path: Path) -> None:
    assert "measured on a copy of it that was quantised to Q4_1" in packaged("smollm2", str(tmp_path))
    assert "copy of it" not in packaged("minilm", str(tmp_path))


def test_hub_base_loads_at_its_revision() -> None:
    readme = model_card(card(Source(origin=Origin.HUB, name="org/base", revision="v2"), "org/base"))
    assert base_of(readme) == "org/base"
    assert 'from_pretrained(\n    base, revision="v2", dtype="float32", num_labels=' in readme
    assert "pathlib" not in readme


def test_folder_base_has_no_hub_id(tmp_path: Path) -> None:
    folder = str(tmp_path / 'a "model"')
    readme = model_card(card(Source(origin=Origin.LOCAL, name=folder), folder))
    assert "\nbase_model:" not in readme
    assert base_of(readme) == folder


def test_counts_are_whole_and_shares_have_their_decimals(tmp_path: Path) -> None:
    metrics = {"samples_at_best": 4000.0, "best_val_accuracy": 1.0, "test__f1": 0.5, "shift__x__loss": float("nan")}
    readme = packaged("minilm", str(tmp_path), **metrics)
    for line in ("samples_at_best | 4000", "best_val_accuracy | 1.0000", "test/f1 | 0.5000", "shift/x/loss | nan"):
        assert f"| {line} |" in readme


def test_labels_are_shown_with_their_values_and_counts() -> None:
    plain = card(Source(origin=Origin.HUB, name="org/base"), "org/base")
    assert "## Labels" not in model_card(plain)
    readme = model_card(
        dataclasses.replace(
            plain,
            label_values={"0": "bad", "neg": "bad", "1": "good"},
            label_counts={"train": {"bad": 1200, "good": 7}, "shift/late": {"bad": 3, "good": 0}},
        )
    )
    table = readme.partition("## Labels\n\n")[2].partition("\n\n")[0].splitlines()
    assert table == [
        "| class | in the data | train | shift/late |",
        "|---|---|---|---|",
        "| bad | `0`, `neg` | 1,200 | 3 |",
        "| good | `1` | 7 | 0 |",
    ]


def test_card_shows_intervals_of_test_metrics() -> None:
    plain = card(Source(origin=Origin.HUB, name="org/base"), "org/base", test__accuracy=0.86, val__loss=0.4)
    assert "| test/accuracy | 0.8600 |\n" in model_card(plain)
    assert "| 95 % interval |" not in model_card(plain)
    limits = MetricInterval(low=0.8391, high=0.8793, level=0.95, rows=1500, seed_sd=0.005)
    others = {"best_val_accuracy": 0.9, "shift/tweets/accuracy": 0.7}
    full = dataclasses.replace(plain, intervals={"test/accuracy": limits}, metrics={**plain.metrics, **others})
    readme = model_card(full)
    assert "| best_val_accuracy | 0.9000 | none: it chose the trial |\n" in readme
    assert "| shift/tweets/accuracy | 0.7000 | none: no rows stored |\n" in readme
    for sentence in (
        "they chose the trial and its checkpoint",
        "A shift value has no interval if an earlier version measured it",
    ):
        assert sentence in readme
        assert sentence in model_card(dataclasses.replace(full, intervals={}))
    assert "| metric | value | 95 % interval |\n|---|---|---|\n" in readme
    assert "| test/accuracy | 0.8600 | 0.8391 to 0.8793 |\n" in readme
    assert "| val/loss | 0.4000 |  |\n" in readme
    assert "- test/accuracy: the noise of 1,500 test rows and of one seed (standard deviation between seeds " in readme
    assert AdapterCard.from_json(full.to_json()) == full
    old = plain.to_json()
    del old["intervals"]
    assert AdapterCard.from_json(old) == plain


def test_card_states_data_gates_and_limits() -> None:
    plain = card(Source(origin=Origin.HUB, name="org/base"), "org/base", best_val_accuracy=0.9, overfit_gap_at_best=0.1)
    rows = SplitData(split="train", source="films", rows=1200, digest="ab" * 32, licence="MIT")
    full = dataclasses.replace(
        plain,
        seed=7,
        data=(rows, SplitData(split="test", source="rows.csv", rows=None, digest="cd" * 32)),
        label_counts={"train": {"bad": 1190, "good": 10}},
    )
    gates = (GateLine(gate="baseline", verdict="passed", detail="0.9 | 0.6"),)
    for text in (model_card(full, gates), version_description(full, gates, "films/2")):
        assert "seed 7" in text
        assert "It classifies a text as `bad` or `good`." in text
        assert "| train | 1,200 | films | MIT | `abababababababab` |" in text
        assert "| test | unknown | rows.csv | unknown | `cdcdcdcdcdcdcdcd` |" in text
        assert "| baseline | passed | 0.9 \\| 0.6 |" in text
        assert "- Fewer than 20 training rows: good." in text
        assert "- Overfit gap (validation loss less training loss): +0.1000." in text
        assert "- It was not measured on test rows" in text
    assert 'mlflow.pyfunc.load_model("models:/films/2")' in version_description(full, gates, "films/2")
    assert "## Gates" not in model_card(full)
    assert AdapterCard.from_json(full.to_json()) == full
    assert AdapterCard.from_json(full.to_json() | {"later": 1}) == full


def test_card_data_comes_from_the_fingerprint() -> None:
    source = {"origin": "packaged", "name": "movie-reviews-rt", "config": None, "split": None, "revision": None}
    late = {**source, "origin": "local", "name": "late.csv"}
    fingerprint = {"rows": {"train": "a", "shift/late": "b"}, "data": {"source": source, "shift": {"late": late}}}
    record = dataclasses.replace(sweep(), fingerprint=fingerprint, facts=SweepFacts(rows={"train": 40}))
    assert split_data(record) == (
        SplitData(split="train", source="movie-reviews-rt", rows=40, digest="a", licence="MIT"),
        SplitData(split="shift/late", source="late.csv", rows=None, digest="b"),
    )
    assert split_data(sweep()) == ()
