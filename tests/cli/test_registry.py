"""``registry``: list, show, compare, history and export of registered versions."""

import json
from pathlib import Path

import pytest
from typer.testing import Result

from orchestrator.core.errors import UserError
from orchestrator.core.trials.row_measures import Measurement, RowMeasures
from orchestrator.promotion.candidates import Candidates
from orchestrator.promotion.gates.judge import PromotionRequest
from orchestrator.promotion.gates.stored_rows import StoredRows
from orchestrator.promotion.promote import promote
from orchestrator.tracking.location import Location, connect
from orchestrator.tracking.logged_models.test_rows import log_test_rows
from orchestrator.tracking.registered.registry import Registry
from orchestrator.tracking.runs.provenance import user
from orchestrator.tracking.runs.synchroniser import Synchroniser
from tests.cli.conftest import Invoke
from tests.conftest import copied
from tests.promotion.conftest import trained
from tests.tracking.records import ACCURACY, description
from tests.tracking.trained import LABELS, TEXTS, TrainedSweep

__all__ = ["trained"]


@pytest.fixture(scope="module")
def store(trained: TrainedSweep, empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Location:
    """Return a store with two versions of ``films``; the second is the champion."""
    location = copied(empty_store, tmp_path_factory.mktemp("store"))
    stored = trained.store
    stored.forget_cursors()
    Synchroniser(stored.ledger, stored.id, description(), location, trained.adapters).run()
    candidates = Candidates(stored.record, tuple(stored.records.values()), trained.adapters, location)
    for number, forced in ((0, "the first one"), (2, None)):
        request = PromotionRequest(name="films", metric=ACCURACY, forced=forced)
        promote(stored.record, candidates.choose(number), location, request)
    connect(location).create_registered_model("empty")
    return location


@pytest.fixture
def registry(invoke: Invoke, store: Location) -> Invoke:
    """Run a command of the group on the store."""

    def run(*arguments: str) -> Result:
        return invoke("registry", *arguments, "--tracking-uri", store.tracking_uri)

    return run


def test_list_shows_versions_and_aliases(registry: Invoke) -> None:
    found = json.loads(registry("list", "--json").stdout)
    assert [(item["model"], item["versions"]) for item in found] == [("empty", []), ("films", [1, 2])]
    assert found[1]["aliases"] == {"champion": 2, "previous": 1}
    assert found[1]["newest_at"] > 1_700_000_000
    shown = registry("list").stdout
    assert "champion 2" in shown
    assert "previous 1" in shown


def test_show_names_lineage_and_commands(registry: Invoke, store: Location) -> None:
    found = json.loads(registry("show", "films@champion", "--json").stdout)
    assert (found["version"], found["aliases"]) == (2, ["champion"])
    card = found["card"]
    assert (card["sweep"], card["trial"], card["seed"]) == ("films#1", 2, 13)
    baseline = next(item for item in found["gates"] if item["gate"] == "baseline")
    assert baseline["verdict"] == "passed"
    assert "0.9000, baseline 0.6000" in baseline["detail"]
    assert len(found["code"]["commit"].partition("-")[0]) == 40
    assert found["code"]["packages"]["torch"]
    assert found["commands"]["serve"].startswith(f"MLFLOW_TRACKING_URI={store.tracking_uri} mlflow models serve ")
    assert "--model-uri models:/films/2 " in found["commands"]["serve"]
    shown = registry("show", "films/1").stdout
    assert "films/1 @previous" in shown
    assert "Trial 0 of films#1" in shown
    assert "code: commit " in shown


def test_compare_shows_differences(registry: Invoke) -> None:
    found = json.loads(registry("compare", "films/1", "films/2", "--json").stdout)
    assert found["params"] == {"learning_rate": pytest.approx([1e-4, 3e-4])}
    metrics = {item["metric"]: item for item in found["metrics"]}
    assert metrics["best_val_accuracy"]["difference"] == pytest.approx(0.1)
    assert metrics["best_val_accuracy"]["same_rows"] is None
    assert metrics["shift/tweets/accuracy"]["a"] is None
    shown = registry("compare", "films/1", "films/2").stdout
    assert "+0.1000" in shown
    assert "seed: 11 and 13" in shown


def measured(right: int) -> str:
    """Return stored test rows: the first ``right`` of 100 rows are classified rightly."""
    rows = RowMeasures(
        losses=(0.5,) * 100,
        units=(1.0,) * 100,
        predictions=(1,) * right + (0,) * (100 - right),
        references=(1,) * 100,
    )
    measurement = Measurement(metrics={"accuracy": right / 100, "macro_f1": 0.3}, rows=rows)  # an own macro-F1
    return StoredRows(digest="rows", measurement=measurement).to_text()


def test_compare_tests_rows_in_pairs(registry: Invoke, store: Location) -> None:
    assert json.loads(registry("compare", "films/1", "films/2", "--json").stdout)["paired"] is None
    for version, right in zip(Registry(store).versions("films"), (60, 80), strict=True):
        for content in (measured(right)[:40], measured(right)):  # the first file was cut off by a kill
            log_test_rows(connect(store), version.model_id, content)
    (found,) = json.loads(registry("compare", "films/1", "films/2", "--json").stdout)["paired"]
    assert (found["metric"], found["gain"], found["rows"]) == ("test/accuracy", pytest.approx(0.2), 100)
    assert found["p"] == pytest.approx(2 * 0.5**20)
    assert 0.1 < found["low"] < 0.2 < found["high"] < 0.3
    assert "gain of films/2 over films/1: +0.2000 (95 % interval" in registry("compare", "films/1", "films/2").stdout
    assert "cannot be told apart" in registry("compare", "films/1", "films/1").stdout


def test_history_names_every_move(registry: Invoke) -> None:
    first, second = json.loads(registry("history", "films", "--json").stdout)
    assert (first["alias"], first["previous"], first["version"], first["by"]) == ("champion", None, 1, user())
    assert first["reason"] == "forced: the first one"
    assert (second["previous"], second["version"], second["origin"]) == (1, 2, "trial 2 of films#1")
    assert second["reason"].startswith("passed ")
    assert "1 → 2" in registry("history", "films").stdout
    assert "no recorded move of the alias other" in registry("history", "films", "--alias", "other").stdout


def test_export_writes_adapter_with_gates(registry: Invoke, tmp_path: Path) -> None:
    found = json.loads(registry("export", "films", str(tmp_path / "out"), "--json").stdout)
    assert (found["version"], found["merged"]) == (2, False)
    assert {"adapter_config.json", "adapter_model.safetensors", "README.md"} <= set(found["files"])
    assert "| baseline | passed |" in (tmp_path / "out" / "README.md").read_text()


def test_merged_export_needs_transformers_alone(registry: Invoke, trained: TrainedSweep, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    registry("export", "films/1", str(tmp_path / "out"), "--merge")
    assert not list((tmp_path / "out").glob("adapter*"))
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out").eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    with torch.inference_mode():
        logits = model(**tokenizer(list(TEXTS), padding=True, return_tensors="pt")).logits.tolist()
    for row, expected in zip(logits, trained.logits[0], strict=True):
        assert row == pytest.approx(expected, abs=1e-4)
    assert tuple(model.config.id2label.values()) == LABELS


def test_merged_export_in_bfloat16_has_half_the_size(registry: Invoke, trained: TrainedSweep, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    bfloat16 = ("--precision", "bfloat16")
    registry("export", "films/1", str(tmp_path / "out"), "--merge", *bfloat16)
    weights = load_file(tmp_path / "out" / "model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.bfloat16}
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out").eval()
    assert model.dtype is torch.bfloat16
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    with torch.inference_mode():
        logits = model(**tokenizer(list(TEXTS), padding=True, return_tensors="pt")).logits.tolist()
    for row, expected in zip(logits, trained.logits[0], strict=True):
        assert row == pytest.approx(expected, abs=0.05)
    with pytest.raises(UserError, match=r"--precision bfloat16 is for merged weights, .*; add --merge, or leave out"):
        registry("export", "films/1", str(tmp_path / "adapter"), *bfloat16)
    for merge in ((), ("--merge",)):
        with pytest.raises(UserError, match="--precision bfloat16: --gguf writes float32; leave out --precision"):
            registry("export", "films/1", str(tmp_path / "gguf"), "--gguf", *merge, *bfloat16)


def test_merge_refuses_options_of_adapters(registry: Invoke, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--merge and --plain-scaling exclude each other"):
        registry("export", "films", str(tmp_path / "out"), "--merge", "--plain-scaling")
    with pytest.raises(UserError, match=r"--merge --gguf: llama\.cpp runs causal language models"):
        registry("export", "films", str(tmp_path / "out"), "--merge", "--gguf")


def test_gguf_of_a_classifier_is_refused(registry: Invoke, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--gguf: llama\.cpp runs adapters of causal language models"):
        registry("export", "films", str(tmp_path / "out"), "--gguf")
    assert not (tmp_path / "out").exists()


def test_version_of_other_program_is_shown(registry: Invoke, store: Location) -> None:
    client = connect(store)
    client.create_registered_model("foreign")
    client.create_model_version("foreign", "s3://somewhere/else")
    assert "does not come from an adapter logged by Loratory" in registry("show", "foreign").stdout
    with pytest.raises(UserError, match="foreign/1 does not come from an adapter logged by Loratory: it has no scores"):
        registry("compare", "foreign", "films")
    client.delete_registered_model("foreign")


def test_missing_store_is_named_and_not_created(invoke: Invoke, tmp_path: Path) -> None:
    for command in (("registry", "list"), ("registry", "show", "films"), ("rollback", "films")):
        with pytest.raises(UserError, match=r"no registry at sqlite:////.*mlflow.db: the file does not exist"):
            invoke(*command)
    assert not (tmp_path / "mlflow").exists()
