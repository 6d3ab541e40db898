"""Loading of valid sweep files, paths and overrides."""

from pathlib import Path

import pytest
import yaml

from orchestrator.assets.tables import local_paths
from orchestrator.core.data import DataPlan, Origin, Source
from orchestrator.core.errors import SpecError, UserError
from orchestrator.core.metric import Direction, Metric
from orchestrator.core.space import Choices, Constant, FloatRange, IntRange, Parameter
from orchestrator.core.sweeps.plan import EngineName, Precision
from orchestrator.core.sweeps.policy import (
    Budget,
    PriorName,
    Resources,
    SamplerName,
    SamplerPolicy,
    StoppingName,
    StoppingPolicy,
    Tracking,
)
from orchestrator.core.trials.settings import TrialSettings
from orchestrator.spec.fingerprint import fingerprint
from orchestrator.spec.load import load_spec
from orchestrator.spec.sweep_spec import SweepSpec
from tests.spec.facts import CLASSIFICATION, PACKAGED, objective_facts

SMALL = "name: small\nobjective: sentiment\nsearch:\n  space:\n    rank: {choices: [4, 8]}\nbudget: {trials: 4}\n"
FULL = """
name: full-1.0
description: Everything that can be written
objective: sentiment
model: {hub: org/base, revision: abc}
data:
  source: {hub: org/rows, config: en, split: train}
  columns: {text: body}
  train: 400
  validation: 100
  test: 50
  seed: 3
  train_eval: 80
  shift: {near: vader-product, far: "hub:org/far"}
  shift_rows: 40
  max_length: 64
adapter: {method: lora, alpha: 16, target_modules: "q_proj,v_proj"}
training: {epochs: 1.5, precision: bfloat16, device: cpu, beta2: 0.95}
search:
  metric: val/loss
  direction: minimize
  sampler: {name: cmaes, startup_trials: 5, population: 6}
  space:
    learning_rate: {low: 1e-4, high: 3.0e-3, log: true}
    rank: {low: 4, high: 16, step: 4}
    init: {choices: [default, gaussian]}
    lora_plus_ratio: {low: 1, high: 16, when: {init: default, rank: [4, 8]}}
    dropout: {low: 0, high: 0.2, step: 0.05}
    head_learning_rate: {choices: [null, 1e-3]}
    batch_size: {value: 8}
  start:
    - {learning_rate: 0.001, rank: 8, dropout: 0.15}
    - {rank: 4, init: default, lora_plus_ratio: 2, head_learning_rate: null}
early_stopping: {rule: hyperband, reports: 4, reduction_factor: 2, grace_samples: 100, cohort: 4, patience: null}
budget: {trials: 20, wall_time: 1h30m, tokens: 3e7}
resources: {engine: solo, parallel_trials: 4, cpus_per_trial: 2, gpus_per_trial: 0.5}
tracking: {uri: "http://localhost:5000", registry_uri: null, keep_adapters: 5}
seed: 11
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def load(text: str, *overrides: str, path: str = "sweep.yaml") -> SweepSpec:
    Path(path).write_text(text)
    return load_spec(Path(path), overrides, objective_facts=objective_facts, packaged=PACKAGED)


@pytest.mark.usefixtures("folder")
class TestGoodFiles:
    def test_full_file_is_read(self) -> None:
        spec = load(FULL)
        assert (spec.name, spec.description, spec.objective) == (
            "full-1.0",
            "Everything that can be written",
            "sentiment",
        )
        assert spec.model == Source(origin=Origin.HUB, name="org/base", revision="abc")
        assert spec.data == DataPlan(
            source=Source(origin=Origin.HUB, name="org/rows", config="en", split="train"),
            columns={"text": "body"},
            train=400,
            validation=100,
            test=50,
            seed=3,
            train_eval=80,
            shift={
                "near": Source(origin=Origin.PACKAGED, name="vader-product"),
                "far": Source(origin=Origin.HUB, name="org/far"),
            },
            shift_rows=40,
        )
        assert (spec.fixed["epochs"], spec.precision, spec.device) == (1.5, Precision.BFLOAT16, "cpu")
        assert spec.fixed == {
            "method": "lora",
            "alpha": 16.0,
            "target_modules": "q_proj,v_proj",
            "epochs": 1.5,
            "beta2": 0.95,
            "max_length": 64,
        }
        assert isinstance(spec.fixed["alpha"], float)
        assert spec.metric == Metric(name="val/loss", direction=Direction.MINIMIZE)
        assert spec.sampler == SamplerPolicy(name=SamplerName.CMAES, startup_trials=5, population=6)
        assert spec.stopping == StoppingPolicy(
            rule=StoppingName.HYPERBAND, reports=4, reduction_factor=2, grace_samples=100, cohort=4, patience=None
        )
        assert spec.prior is PriorName.SHIPPED
        assert load(FULL, "search.prior=ledger").prior is PriorName.LEDGER
        assert spec.budget == Budget(trials=20, wall_time_s=5400.0, tokens=30_000_000)
        assert spec.resources == Resources(parallel_trials=4, cpus_per_trial=2, gpus_per_trial=0.5)
        assert spec.tracking == Tracking(uri="http://localhost:5000", keep_adapters=5)
        assert (spec.seed, spec.path, spec.text) == (11, Path("sweep.yaml"), FULL)

    def test_reports_accept_sample_counts(self) -> None:
        spec = load(FULL, "early_stopping.reports=[50, 3e2]")
        assert spec.stopping.reports == (50, 300)
        assert fingerprint(spec)["stopping"]["reports"] == [50, 300]

    def test_fewer_rows_need_one_override(self) -> None:
        spec = load(FULL, "early_stopping.reports=[50, 300]", "data.train=60")
        assert (spec.stopping.reports, spec.stopping.grace_samples, spec.data.train_eval) == ((50, 300), 100, 80)
        load(FULL, "early_stopping.reports=[50, 300]", "training.epochs=0.1")

    def test_unrelated_override_hides_no_problem(self) -> None:
        text = SMALL + "data: {train: 100}\ntraining: {epochs: 1}\nearly_stopping: {reports: [50, 700]}\n"
        with pytest.raises(SpecError, match=r"report points must be at most 100, .*, got 700"):
            load(text, "training.device=cpu")
        with pytest.raises(SpecError, match=r"at most data.train=100 rows can be measured, got 200"):
            load(SMALL + "data: {train: 100, train_eval: 200}\n", "training.epochs=0.5")

    def test_space_keeps_order_and_kinds(self) -> None:
        spec = load(FULL)
        assert spec.space.parameters == (
            Parameter(name="learning_rate", distribution=FloatRange(low=1e-4, high=3e-3, log=True)),
            Parameter(name="rank", distribution=IntRange(low=4, high=16, step=4)),
            Parameter(name="init", distribution=Choices(choices=("default", "gaussian"))),
            Parameter(
                name="lora_plus_ratio",
                distribution=FloatRange(low=1.0, high=16.0),
                when={"init": ("default",), "rank": (4, 8)},
            ),
            Parameter(name="dropout", distribution=FloatRange(low=0.0, high=0.2, step=0.05)),
            Parameter(name="head_learning_rate", distribution=Choices(choices=(None, 1e-3))),
            Parameter(name="batch_size", distribution=Constant(value=8)),
        )
        assert spec.start_points == (
            {"learning_rate": 0.001, "rank": 8, "dropout": 0.15},
            {"rank": 4, "init": "default", "lora_plus_ratio": 2.0, "head_learning_rate": None},
        )

    def test_small_file_uses_objective_defaults(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("os.sched_getaffinity", lambda _pid: set(range(8)), raising=False)
        spec = load(SMALL)
        assert spec.model == CLASSIFICATION.default_model
        assert spec.data == DataPlan(source=CLASSIFICATION.default_source)
        assert spec.metric == Metric(name="val/accuracy", direction=Direction.MAXIMIZE)
        assert spec.sampler == SamplerPolicy()
        assert spec.stopping == StoppingPolicy()
        assert spec.resources.engine is EngineName.PACKED

    def test_processes_share_the_processors(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("os.sched_getaffinity", lambda _pid: set(range(8)), raising=False)
        assert load(SMALL + "resources: {engine: solo}\n").resources == Resources(cpus_per_trial=8)
        assert load(SMALL + "resources: {engine: solo, parallel_trials: 3}\n").resources.cpus_per_trial == 2

    def test_pack_uses_all_processors_by_default(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("os.sched_getaffinity", lambda _pid: set(range(8)), raising=False)
        packed = Resources(engine=EngineName.PACKED, parallel_trials=4, measured=True, cpus_per_trial=8)
        assert load(SMALL).resources == packed  # its budget is 4 trials
        less = load(SMALL + "resources: {engine: packed, cpus_per_trial: 2, parallel_trials: 3}\n").resources
        assert less == Resources(engine=EngineName.PACKED, parallel_trials=3, cpus_per_trial=6)

    def test_sections_may_be_left_empty(self) -> None:
        spec = load(SMALL + "data:\ntraining:\nadapter:\nresources:\ntracking:\nmodel:\n")
        assert fingerprint(spec) == fingerprint(load(SMALL))

    def test_short_forms(self) -> None:
        spec = load(SMALL.replace("  space:", "  sampler: qmc\n  space:") + "early_stopping: median\n")
        assert (spec.sampler.name, spec.stopping) == (SamplerName.QMC, StoppingPolicy(rule=StoppingName.MEDIAN))

    def test_no_early_stopping_disables_overfitting_exit(self) -> None:
        assert load(SMALL + "early_stopping: none\n").stopping == StoppingPolicy(rule=StoppingName.NONE, patience=None)
        assert load(SMALL + "early_stopping: {rule: none}\n").stopping.patience == 2

    @pytest.mark.parametrize(
        ("written", "seconds"),
        [
            ("90s", 90),
            ("20m", 1200),
            ("1h30m", 5400),
            ("1h 5s", 3605),
            ("1.5h", 5400),
            ("45", 45),
            ("0.5", 0.5),
        ],
    )
    def test_times(self, written: str, seconds: float) -> None:
        assert load(SMALL.replace("trials: 4", f"wall_time: {written}")).budget == Budget(wall_time_s=seconds)

    def test_train_eval_is_at_most_train(self) -> None:
        assert load(SMALL + "data: {train: 100}\n").data.train_eval == 100
        assert load(SMALL + "data: {train: 900}\n").data.train_eval == 500

    def test_exponents_without_a_point_are_numbers(self) -> None:
        spec = load(SMALL + "training: {learning_rate: 1e-4, weight_decay: 1E-2}\n")
        assert spec.fixed == {"learning_rate": 1e-4, "weight_decay": 0.01}

    def test_anchors_and_merges(self) -> None:
        text = (
            SMALL + "data:\n  train: 300\n  shift:\n    a: &s {hub: org/x, split: test}\n    b: {<<: *s, hub: org/y}\n"
        )
        assert load(text).data.shift["b"] == Source(origin=Origin.HUB, name="org/y", split="test")

    def test_parameters_override_fixed_settings(self) -> None:
        spec = load(FULL)
        assert TrialSettings.from_params({**spec.fixed, "rank": 4, "alpha": 8.0}) == TrialSettings(
            rank=4, alpha=8.0, target_modules="q_proj,v_proj", epochs=1.5, beta2=0.95, max_length=64
        )
        with pytest.raises(UserError, match="unknown settings: rnk"):
            TrialSettings.from_params({**spec.fixed, "rnk": 4})


class TestPaths:
    def test_paths_resolve_from_sweep_file_first(self, folder: Path) -> None:
        (folder / "sweeps/base").mkdir(parents=True)
        (folder / "sweeps/rows.csv").write_text("text,label\n")
        (folder / "rows.parquet").write_bytes(b"")
        (folder / "sweeps/my_task.py").write_text("")
        text = SMALL.replace("objective: sentiment", "objective: my_task.py")
        text += "model: ./base\ndata:\n  source: rows.csv\n  shift: {other: rows.parquet}\n"
        spec = load(text, path="sweeps/mine.yaml")
        assert spec.objective == str(folder / "sweeps/my_task.py")
        assert spec.model == Source(origin=Origin.LOCAL, name=str(folder / "sweeps/base"))
        assert spec.data.source == Source(origin=Origin.LOCAL, name=str(folder / "sweeps/rows.csv"))
        assert spec.data.shift["other"] == Source(origin=Origin.LOCAL, name=str(folder / "rows.parquet"))

    def test_files_folders_and_queries_become_absolute(self, folder: Path) -> None:
        for name in ("a.csv", "b.csv", "reviews/pos/1.txt", "rows.db"):
            (folder / "sweeps" / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / "sweeps" / name).write_text("text,label\n")
        here = f"{folder}/sweeps"
        for written, source in {
            "./*.csv": Source(origin=Origin.LOCAL, name=f"{here}/*.csv"),
            "[b.csv, ./a.csv]": Source(origin=Origin.LOCAL, name=f"{here}/b.csv\n{here}/a.csv"),
            "reviews/": Source(origin=Origin.LOCAL, name=f"{here}/reviews"),
            "'sqlite:///rows.db?query=SELECT a'": Source(
                origin=Origin.SQLITE, name=f"sqlite:///{here}/rows.db?query=SELECT a"
            ),
            "'duckdb:///rows.db?query=SELECT a'": Source(
                origin=Origin.SQL, name=f"duckdb:///{here}/rows.db?query=SELECT a"
            ),
            "'postgres://ann@db:5433/shop?sslmode=require&query=SELECT a'": Source(
                origin=Origin.SQL, name="postgresql://ann@db:5433/shop?sslmode=require&query=SELECT a"
            ),
        }.items():
            spec = load(SMALL + f"data:\n  source: {written}\n", path="sweeps/mine.yaml")
            assert spec.data.source == source

    def test_folder_of_a_pattern_may_have_brackets(self, folder: Path) -> None:
        place = folder / "[old] sweeps"
        place.mkdir()
        (place / "a.csv").write_text("text,label\n")
        spec = load(SMALL + "data:\n  source: ./*.csv\n", path=str(place / "mine.yaml"))
        assert local_paths(spec.data.source.name) == [place / "a.csv"]

    def test_packaged_name_wins_over_folder(self, folder: Path) -> None:
        (folder / "minilm").mkdir()
        assert load(SMALL + "model: minilm\n").model.origin is Origin.PACKAGED
        assert load(SMALL + "model: ./minilm\n").model.origin is Origin.LOCAL


@pytest.mark.usefixtures("folder")
class TestOverrides:
    def test_later_overrides_win(self) -> None:
        spec = load(FULL, "seed=1", "seed=2", "data.train=500", "search.space.rank={choices: [4, 8]}", "model=minilm")
        assert (spec.seed, spec.data.train, spec.model.name) == (2, 500, "minilm")
        assert spec.space.parameters[1].distribution == Choices(choices=(4, 8))

    def test_overrides_reach_missing_sections_and_items(self) -> None:
        spec = load(SMALL, "training.epochs=3", "tracking.keep_adapters=1")
        assert (spec.fixed["epochs"], spec.tracking.keep_adapters) == (3.0, 1)
        assert load(SMALL, "search.space.epochs={low: 0.5, high: 2}").samples(100) == 200
        assert load(FULL, "search.start.0.rank=16").start_points[0]["rank"] == 16

    def test_conflicts_consider_possible_trials_only(self) -> None:
        """The conditions exclude an odd rank with an orthogonal init, and PiSSA with DoRA."""
        space = "search.space."
        odd = "method: {choices: [lora, loha]}\n    rank: {choices: [5, 7], when: {method: loha}}"
        orthogonal = space + "init={choices: [default, orthogonal], when: {method: lora}}"
        load(SMALL.replace("rank: {choices: [4, 8]}", odd), orthogonal)
        dora = space + "dora={choices: [true], when: {rank: 4}}"
        load(SMALL, dora, space + "init={choices: [pissa], when: {rank: 8}}")
        with pytest.raises(SpecError, match=r"dora supports the inits .*, got pissa"):
            load(SMALL, dora, space + "init={choices: [pissa], when: {rank: 4}}")

    def test_text_contains_overrides_and_comments(self) -> None:
        text = "# what it is for\n" + SMALL.replace("{trials: 4}", "{trials: 4}  # a few") + "seed: 1  # of all draws\n"
        spec = load(text, "seed=2", "budget.trials=6", "data.train=100")
        assert spec.text.startswith("# what it is for\n")
        assert "# of all draws" in spec.text
        assert yaml.safe_load(spec.text) == {
            **yaml.safe_load(text),
            "seed": 2,
            "budget": {"trials": 6},
            "data": {"train": 100},
        }
        assert fingerprint(load(spec.text)) == fingerprint(spec)

    def test_fewer_trials_need_one_override(self) -> None:
        text = SMALL + "resources: {parallel_trials: 4}\nearly_stopping: {cohort: 3}\n"
        assert load(text, "budget.trials=1").resources.parallel_trials == 1
