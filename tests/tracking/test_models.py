"""Adapters as MLflow models: small, complete, logged once."""

import math
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import pandas as pd
import pytest

from orchestrator.core.errors import UserError
from orchestrator.core.tasks.function import FunctionPlan, file_digest
from orchestrator.tracking.environment import load_mlflow
from orchestrator.tracking.location import Location, connect
from orchestrator.tracking.logged_models.adapters import CARD, read_card
from orchestrator.tracking.logged_models.models import download_model, find_model, log_adapter
from orchestrator.tracking.logged_models.staging import FUNCTION_FILE, stage_adapter
from orchestrator.tracking.runs.synchroniser import Synchroniser
from tests.tracking.records import description
from tests.tracking.trained import LABELS, TEXTS, TrainedSweep, trained_sweep


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> TrainedSweep:
    return trained_sweep(tmp_path_factory.mktemp("trained"))


def models(trained: TrainedSweep, location: Location) -> dict[str, str]:
    client = connect(location)
    logged = client.search_logged_models([trained.store.experiment_id])
    assert {str(model.status) for model in logged} == {"READY"}
    return {model.tags["loratory.trial"]: model.model_id for model in logged}


def test_kept_adapters_become_models_once(trained: TrainedSweep, local_store: Location) -> None:
    synchroniser = Synchroniser(trained.store.ledger, trained.store.id, description(), local_store, trained.adapters)
    synchroniser.run()
    logged = models(trained, local_store)
    assert set(logged) == {"0", "2"}
    synchroniser.run()
    trained.store.forget_cursors()
    Synchroniser(trained.store.ledger, trained.store.id, description(), local_store, trained.adapters).run()
    assert models(trained, local_store) == logged


def test_model_of_killed_process_is_replaced(trained: TrainedSweep, local_store: Location) -> None:
    trained.store.forget_cursors()
    about = description(keep_adapters=1)
    Synchroniser(trained.store.ledger, trained.store.id, about, local_store, trained.adapters).run()
    client, card = connect(local_store), trained.adapters.card(trained.store.record, trained.store.records[0])
    tags = {"loratory.sweep": card.sweep_key, "loratory.trial": "0", "loratory.samples": str(card.samples)}
    killed = client.create_logged_model(trained.store.experiment_id, tags=tags)
    assert find_model(client, trained.store.experiment_id, card) is None
    folder = trained.adapters.folder(trained.store.records[0])
    assert folder is not None
    card = replace(card, metrics={"odd": math.nan, "even": 2.0})
    logged = log_adapter(client, folder, card, trained.store.run_of(0), trained.store.experiment_id)
    assert models(trained, local_store)["0"] == logged != killed.model_id
    metrics = client.get_logged_model(logged).metrics or ()
    assert [metric.key for metric in metrics] == ["even"]  # MLflow's search takes NaN for 0


def test_only_the_top_k_are_logged(trained: TrainedSweep, local_store: Location) -> None:
    trained.store.forget_cursors()
    Synchroniser(
        trained.store.ledger, trained.store.id, description(keep_adapters=1), local_store, trained.adapters
    ).run()
    assert set(models(trained, local_store)) == {"2"}


def test_model_holds_adapter_and_references_base(trained: TrainedSweep, local_store: Location, tmp_path: Path) -> None:
    trained.store.forget_cursors()
    Synchroniser(trained.store.ledger, trained.store.id, description(), local_store, trained.adapters).run()
    client = connect(local_store)
    model_id = models(trained, local_store)["2"]
    folder = download_model(client, model_id, local_store.tracking_uri, tmp_path / "copy")
    names = {path.name for path in folder.iterdir()}
    assert {"adapter_config.json", "adapter_model.safetensors", "tokenizer.json", "README.md", CARD} <= names
    files = [path for path in (tmp_path / "copy").rglob("*") if path.is_file()]
    assert not [path for path in files if path.suffix in {".bin", ".pkl", ".pickle", ".pt"}]
    assert [path.name for path in files if path.suffix == ".safetensors"] == ["adapter_model.safetensors"]
    card = read_card(folder)
    assert card.trial == 2
    assert card.labels == LABELS
    assert card.metrics["shift/tweets/accuracy"] == 0.7
    model = client.get_logged_model(model_id)
    assert {metric.key: metric.value for metric in model.metrics or ()}["best_val_accuracy"] == 0.9
    run = client.get_run(model.source_run_id or "")
    assert run.outputs is not None
    assert [output.model_id for output in run.outputs.model_outputs] == [model_id]
    assert len(client.get_metric_history(run.info.run_id, "shift/tweets/accuracy")) == 1


def test_pyfunc_loads_it_and_names_the_classes(trained: TrainedSweep, local_store: Location) -> None:
    trained.store.forget_cursors()
    Synchroniser(trained.store.ledger, trained.store.id, description(), local_store, trained.adapters).run()
    mlflow = load_mlflow()
    location = connect(local_store).get_logged_model(models(trained, local_store)["2"]).artifact_location
    answers = mlflow.pyfunc.load_model(location).predict(pd.DataFrame({"text": TEXTS}))
    expected = [LABELS[max(range(3), key=row.__getitem__)] for row in trained.logits[2]]
    assert answers["label"].tolist() == expected


def test_pyfunc_takes_the_base_from_the_caller(
    trained: TrainedSweep, local_store: Location, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained.store.forget_cursors()
    Synchroniser(trained.store.ledger, trained.store.id, description(), local_store, trained.adapters).run()
    mlflow = load_mlflow()
    location = connect(local_store).get_logged_model(models(trained, local_store)["2"]).artifact_location
    expected = mlflow.pyfunc.load_model(location).predict({"text": TEXTS[0]})
    copied = shutil.copytree(trained.adapters.base_path, tmp_path / "base")
    elsewhere = mlflow.pyfunc.load_model(location, model_config={"base": str(copied)})
    assert elsewhere.predict({"text": TEXTS[0]}).equals(expected)
    with pytest.raises(Exception, match=r"the base model is not on this machine: folder .*gone does not exist"):
        mlflow.pyfunc.load_model(location, model_config={"base": str(tmp_path / "gone")})
    monkeypatch.setenv("LORATORY_BASE_MODEL", str(tmp_path / "missing"))
    with pytest.raises(Exception, match="missing does not exist"):
        mlflow.pyfunc.load_model(location)


def test_function_is_staged_with_the_code_that_trained_it(trained: TrainedSweep, tmp_path: Path) -> None:
    file, checkpoint = tmp_path / "mine.py", tmp_path / "checkpoint"
    file.write_text("def run(config, report): ...\n")
    checkpoint.mkdir()
    stored = asdict(FunctionPlan(path=str(file), name="run", samples=10, digest=file_digest(file)))
    plan = FunctionPlan.from_json(stored)
    card = trained.adapters.card(trained.store.record, trained.store.records[2])
    card = replace(card, head="function", base_path=plan.path, function_digest=plan.digest)
    staged = stage_adapter(checkpoint, card, tmp_path / "staged")
    code = (staged / FUNCTION_FILE).read_text()
    assert code == file.read_text()
    file.write_text("def run(config, report): raise ValueError\n")
    with pytest.raises(
        UserError, match=r"mine\.py has changed since its sweep started: restore it as it was for films"
    ):
        stage_adapter(checkpoint, card, tmp_path / "other")
    assert (stage_adapter(staged, read_card(staged), tmp_path / "again") / FUNCTION_FILE).read_text() == code
    del stored["digest"]  # a plan of an early version
    unknown = replace(card, function_digest=FunctionPlan.from_json(stored).digest)
    assert (stage_adapter(checkpoint, unknown, tmp_path / "early") / FUNCTION_FILE).is_file()
    file.unlink()
    with pytest.raises(UserError, match=r"mine\.py is missing"):
        stage_adapter(checkpoint, unknown, tmp_path / "missing")
