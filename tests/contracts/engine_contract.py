"""The contract of all engines. A test class inherits it, and names an engine, a model and an objective."""

import copy
import gc
import json
import math
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel

from orchestrator.core.data import DataPlan, Origin, Source
from orchestrator.core.errors import DivergedError, LoratoryError
from orchestrator.core.methods.catalogue import LORA, takers
from orchestrator.core.methods.deepspeed import Config
from orchestrator.core.methods.quantisation import Quantisation, loading_arguments
from orchestrator.core.space import ParamValue
from orchestrator.core.sweeps.plan import EnginePlan, Precision
from orchestrator.core.trials.settings import TrialSettings
from orchestrator.core.trials.trial import Report, TrialTask
from orchestrator.evaluation.measurement_file import read_measurement
from orchestrator.objective.protocol import Head, Objective
from orchestrator.training.checkpoints.heartbeat import samples_trained
from orchestrator.training.checkpoints.recorded_test import FILE, read_recorded_test
from orchestrator.training.checkpoints.trial_folder import TrialFolder
from orchestrator.training.engine import Engine
from orchestrator.training.process.random_state import RandomState
from tests.plain_peft import PlainPeft

MADE_UP = Source(origin=Origin.LOCAL, name="made up")
POINTS = (12, 24, 48, 64)
ROWS = 40
MEASURED_TIME = ("time/", "speed/", "memory/")

SETTINGS: list[dict[str, ParamValue]] = [
    {"rank": 2, "alpha": 4.0},
    {"rslora": True},
    {"dropout": 0.3},
    {"init": "gaussian"},
    {"init": "orthogonal"},
    {"init": "pissa"},
    {"init": "pissa", "rslora": True},
    {"dora": True},
    {"head_learning_rate": 1e-3, "lora_plus_ratio": 4.0},
    {"weight_decay": 0.1, "beta1": 0.8, "beta2": 0.99, "epsilon": 1e-6, "max_grad_norm": 0.1},
    {"schedule": "cosine", "warmup_ratio": 0.25},
    {"schedule": "constant", "warmup_ratio": 1.0},
    {"schedule": "wsd", "warmup_ratio": 0.1, "decay_ratio": 0.5},
    {"batch_size": 3, "accumulation": 2},
    {"label_smoothing": 0.1},
    {"max_length": 6},
    {"train_fraction": 0.3},
]


def learned(report: Report) -> dict[str, float]:
    """Return the metrics of a report, without times, speeds and memory."""
    return {name: value for name, value in report.metrics.items() if not name.startswith(MEASURED_TIME)}


def random_states() -> list[str]:
    state = RandomState.capture()
    return [repr(state.python), repr(state.numpy), str(state.cpu.tolist())]


def live_models() -> set[int]:
    """Return the ids of the adapted models in memory; tests before may have left some."""
    gc.collect()
    return {id(thing) for thing in gc.get_objects() if isinstance(thing, PeftModel)}


class Trials:
    """Engines and trials for tests. Set ``objective``, ``targets`` and the attributes below."""

    objective: Objective
    targets: str
    """Names of some linear layers of the model, separated by commas."""
    bfloat16_error: float = 1e-6
    """Maximum relative difference of a report in bfloat16 and a measurement of its checkpoint in float32."""
    learning_rate: float = 1e-2
    """A learning rate at which the model learns within 64 rows."""
    decomposes: bool = True
    """Whether PiSSA is tested, which decomposes every layer at every start."""
    method: str = LORA
    """The adapter's method. Methods other than LoRA ignore inits and DoRA."""
    quantisation: Quantisation | None = None
    """Number format of the frozen linear layers. Some inits need unquantised weights."""
    deepspeed: Config | None = None
    """Configuration of DeepSpeed, or None."""

    def engine(self, plan: EnginePlan) -> Engine:
        raise NotImplementedError

    def write_model(self, folder: Path) -> Path:
        raise NotImplementedError

    def holds(self, engine: Engine, number: int) -> bool:
        """Return whether the engine holds memory for a trial."""
        raise NotImplementedError

    @pytest.fixture(scope="class")
    def model(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        return self.write_model(tmp_path_factory.mktemp("model") / "model")

    @pytest.fixture
    def alike(self, device: str) -> Callable[..., bool]:
        """Return a comparison of two trials' metrics: exact on a CPU, with tolerance on a GPU."""
        noise = 0.0 if device == "cpu" else 1e-4

        def alike(metrics_of_one: Sequence[Mapping[str, float]], expected: Sequence[Mapping[str, float]]) -> bool:
            return [*metrics_of_one] == [pytest.approx(metrics, rel=noise, abs=noise) for metrics in expected]

        return alike

    @pytest.fixture
    def build(self, tmp_path: Path, model: Path, device: str) -> Iterator[Callable[..., Engine]]:
        """Return a function to build engines over one tiny model, with one folder per name of a sweep."""
        engines = []
        others = {*threading.enumerate()}  # threads of other tests in this process

        def build(sweep: str = "sweep", precision: Precision = Precision.FLOAT32, **timetable: Any) -> Engine:
            data = DataPlan(
                source=MADE_UP,
                train=ROWS,
                validation=20,
                test=12,
                train_eval=10,
                shift={"other": MADE_UP},
                shift_rows=8,
            )
            plan = EnginePlan(
                objective="made up",
                model=Source(origin=Origin.LOCAL, name=str(model)),
                data=data,
                report_points=POINTS,
                sweep_dir=str(tmp_path / sweep),
                metric="val/loss",
                precision=precision,
                device=device,
                quantisation=self.quantisation,
                deepspeed=self.deepspeed,
            )
            engines.append(self.engine(replace(plan, **timetable)))
            return engines[-1]

        yield build
        for engine in engines:
            engine.close()
        own = {*threading.enumerate()} - others
        assert not [thread for thread in own if thread.name.startswith("trial ")]

    def task(self, number: int = 0, seed: int = 7, **settings: ParamValue) -> TrialTask:
        chosen: dict[str, ParamValue] = {
            "method": self.method,
            "learning_rate": self.learning_rate,
            "batch_size": 8,
            "rank": 4,
            "dropout": 0.1,
            "max_length": 32,
        }
        return TrialTask(number=number, settings=TrialSettings.from_params(chosen | settings), seed=seed)

    @staticmethod
    def all_reports(engine: Engine, task: TrialTask, points: tuple[int, ...] = POINTS) -> list[Report]:
        run = engine.start(task)
        try:
            return [run.advance(point) for point in points]
        finally:
            run.close()

    def skip_if_impossible(self, init: ParamValue) -> None:
        if init in {"pissa", "orthogonal"} and self.quantisation is not None:
            pytest.skip("refused in the sweep file: peft needs the base's weights for it")


class MethodContract(Trials):
    """The tests that depend on the adapter's method."""

    def test_reports_have_every_metric(self, build: Callable[..., Engine], tmp_path: Path) -> None:
        reports = self.all_reports(build(), self.task(number=3))
        names = {f"{split}/{name}" for split in ("val", "train") for name in self.objective.metrics}
        names |= {"gap/loss", "optim/learning_rate", "progress/samples", "progress/tokens", "speed/tokens_per_s"}
        names |= {"memory/peak_mb", "time/train_s", "time/eval_s"}
        for point, report in zip(POINTS, reports, strict=True):
            assert (report.trial, report.nominal_samples) == (3, point)
            assert names <= set(report.metrics)
            assert all(math.isfinite(value) for value in report.metrics.values())
            assert report.metrics["progress/samples"] == math.ceil(point / 8) * 8
            assert report.metrics["gap/loss"] == report.metrics["val/loss"] - report.metrics["train/loss"]
            assert report.checkpoint == f"trials/0003/checkpoint-{point}"
            assert (tmp_path / "sweep" / report.checkpoint / "adapter/adapter_model.safetensors").is_file()
            assert report.started_at <= report.ended_at
            assert report.metrics["time/train_s"] > 0
            assert report.metrics["speed/tokens_per_s"] > 0
        tokens = [report.metrics["progress/tokens"] for report in reports]
        assert tokens == sorted(set(tokens))
        assert reports[-1].metrics["train/loss"] < reports[0].metrics["train/loss"]

    @pytest.mark.parametrize("init", ["default", "pissa"])
    def test_interrupted_trial_resumes_exactly(
        self, build: Callable[..., Engine], alike: Callable[..., bool], init: str
    ) -> None:
        if init == "pissa" and not self.decomposes:
            pytest.skip("every start would decompose every layer of a model of real size")
        self.skip_if_impossible(init)
        task = self.task(init=init, accumulation=2, batch_size=4)
        expected = [learned(report) for report in self.all_reports(build("whole"), task)]
        found = []
        for point in POINTS:
            engine = build("interrupted")
            run = engine.start(task)
            found.append(learned(run.advance(point)))
            run.close()
            engine.close()
        assert alike(found, expected)

    def test_plain_peft_and_transformers_measure_the_same(
        self, build: Callable[..., Engine], tmp_path: Path, model: Path, plain_peft: PlainPeft
    ) -> None:
        from transformers import AutoTokenizer

        engine = build()
        tasks = [
            self.task(number=0),
            self.task(number=1, init="pissa", learning_rate=1e-3),
            self.task(number=2, init="pissa", rslora=True, learning_rate=1e-3),
            self.task(number=3, init="gaussian", target_modules=self.targets),
        ]
        quantisation = None
        if self.quantisation is not None:
            tasks = [task for task in tasks if task.settings.init != "pissa"]
            quantisation = loading_arguments(self.quantisation)
        splits = self.objective.splits(DataPlan(source=MADE_UP, train=ROWS, validation=20, test=12))
        rows = self.objective.encode(splits.validation, AutoTokenizer.from_pretrained(model), 32)
        for task in tasks:
            if task.settings.init == "pissa" and not self.decomposes:
                continue
            run = engine.start(task)
            report = run.advance(POINTS[-1])
            run.close()
            adapter = tmp_path / "sweep" / (report.checkpoint or "") / "adapter"
            plain = plain_peft.measure(adapter, model, rows, self.objective.head.value, quantisation)
            # In 8 bits bitsandbytes rounds the inputs of layers too.
            rounds = self.quantisation is Quantisation.INT8
            assert plain["loss"] == pytest.approx(report.metrics["val/loss"], abs=0.02 if rounds else 1e-5)
            if not rounds and self.objective.head is Head.SEQUENCE_CLASSIFICATION:
                assert plain["accuracy"] == report.metrics["val/accuracy"]

    def test_target_modules_may_be_named(self, build: Callable[..., Engine], tmp_path: Path) -> None:
        run = build().start(self.task(target_modules=self.targets))
        run.advance(POINTS[0])
        run.close()
        config = json.loads((tmp_path / "sweep/trials/0000/checkpoint-12/adapter/adapter_config.json").read_text())
        assert sorted(config["target_modules"]) == sorted(name.strip() for name in self.targets.split(","))

    @pytest.mark.filterwarnings("ignore")
    def test_diverging_trial_raises_and_frees_everything(self, build: Callable[..., Engine], tmp_path: Path) -> None:
        if self.method not in takers("alpha"):
            pytest.skip("no setting that this method takes makes it diverge")
        engine, others = build(), live_models()
        run = engine.start(self.task(number=5, alpha=1e38, learning_rate=10.0, batch_size=2))
        with pytest.raises(DivergedError, match="at update"):
            run.advance(POINTS[-1])
        assert not self.holds(engine, 5)
        assert live_models() <= others
        run.close()
        assert all(path.name.startswith("checkpoint-") for path in (tmp_path / "sweep/trials").glob("0005/*"))
        assert learned(self.all_reports(engine, self.task())[0])

    def test_the_seed_alone_decides(self, build: Callable[..., Engine], alike: Callable[..., bool]) -> None:
        first = [learned(report) for report in self.all_reports(build("first"), self.task(number=0))]
        torch.manual_seed(99)
        again = [learned(report) for report in self.all_reports(build("again"), self.task(number=1))]
        other = [learned(report) for report in self.all_reports(build("other"), self.task(seed=8))]
        assert alike(again, first)
        assert all(a["val/loss"] != b["val/loss"] for a, b in zip(other, first, strict=True))


class AdapterContract(MethodContract):
    """The tests that depend on the model's architecture too."""

    def test_trials_are_independent(self, build: Callable[..., Engine], alike: Callable[..., bool]) -> None:
        alone = [[learned(r) for r in self.all_reports(build("alone"), self.task(n, seed=n))] for n in (1, 2)]
        engine = build("together")
        runs = [engine.start(self.task(number, seed=number)) for number in (1, 2)]
        states = random_states()
        together: list[list[dict[str, float]]] = [[], []]
        for point in POINTS:
            for reports, run in zip(together, runs, strict=True):
                reports.append(learned(run.advance(point)))
        assert states == random_states()
        for run in runs:
            run.finish(POINTS[0])
            run.close()
        assert states == random_states()
        assert all(alike(*pair) for pair in zip(together, alone, strict=True))


class EngineContract(AdapterContract):
    """The whole contract."""

    known: dict[str, float]
    """The first loss by device, measured once per class."""

    def __init_subclass__(cls) -> None:
        cls.known = {}

    def test_trial_of_fewer_epochs_matches_shorter_sweep(
        self, build: Callable[..., Engine], alike: Callable[..., bool]
    ) -> None:
        """The sweep has the report points of its longest trial, of 1.6 epochs."""
        ends = (12, 24, 40)
        expected = self.all_reports(build("short", report_points=ends), self.task(), ends)
        engine = build("mixed", rows_per_epoch=ROWS)
        found = self.all_reports(engine, self.task(epochs=1.0), ends)
        assert alike([*map(learned, found)], [*map(learned, expected)])
        run = engine.start(self.task(epochs=1.0))
        with pytest.raises(ValueError, match=r"one of the report points \(12, 24, 40\) is needed, got 48"):
            run.advance(48)
        run.close()
        longest = self.all_reports(engine, self.task(number=1, epochs=1.6))
        assert longest[1].metrics["optim/learning_rate"] > found[1].metrics["optim/learning_rate"]

    def test_samples_between_reports_are_noted(self, build: Callable[..., Engine], tmp_path: Path) -> None:
        seen: set[int] = set()
        plain, watched = self.objective, copy.copy(self.objective)

        def collate(examples: Sequence[Any], tokenizer: Any) -> Any:
            seen.add(samples_trained(tmp_path / "sweep", 0))
            return plain.collate(examples, tokenizer)

        watched.collate = collate  # type: ignore[method-assign]
        self.objective = watched
        run = build().start(self.task())
        run.advance(POINTS[0])
        run.close()
        assert 8 in seen
        assert samples_trained(tmp_path / "sweep", 0) == 0  # the report has it now

    def test_stored_reports_are_returned_unchanged(self, build: Callable[..., Engine], tmp_path: Path) -> None:
        reports = self.all_reports(build(), self.task())
        times = {path: path.stat().st_mtime_ns for path in (tmp_path / "sweep").rglob("*")}
        assert self.all_reports(build(), self.task()) == reports
        assert {path: path.stat().st_mtime_ns for path in (tmp_path / "sweep").rglob("*")} == times

    def test_points_may_be_skipped_but_not_unknown(
        self, build: Callable[..., Engine], alike: Callable[..., bool]
    ) -> None:
        run = build("skipping").start(self.task())
        last = run.advance(POINTS[-1])
        run.close()
        assert alike([learned(last)], [learned(self.all_reports(build("whole"), self.task())[-1])])
        with pytest.raises(ValueError, match="one of the report points"):
            build().start(self.task()).advance(POINTS[0] + 1)

    def test_close_report_points_share_an_update(
        self, build: Callable[..., Engine], alike: Callable[..., bool]
    ) -> None:
        reports = self.all_reports(build(), self.task(batch_size=32))
        assert [report.metrics["progress/samples"] for report in reports] == [32, 32, 64, 64]
        assert learned(reports[0]) == learned(reports[1])
        run = build("interrupted").start(self.task(batch_size=32))
        found = [run.advance(POINTS[0])]
        run.close()
        run = build("interrupted").start(self.task(batch_size=32))
        found += [run.advance(point) for point in POINTS[1:]]
        run.close()
        assert alike([learned(report) for report in found], [learned(report) for report in reports])
        assert [report.checkpoint for report in found] == [report.checkpoint for report in reports]

    def test_close_is_idempotent(self, build: Callable[..., Engine]) -> None:
        engine = build()
        run = engine.start(self.task(number=6))
        run.close()
        run = engine.start(self.task(number=6))
        run.advance(POINTS[0])
        assert self.holds(engine, 6)
        run.close()
        run.close()
        assert not self.holds(engine, 6)
        engine.close()
        engine.close()
        with pytest.raises(LoratoryError, match="closed"):
            engine.start(self.task())

    def test_finish_retrains_a_missing_checkpoint(self, build: Callable[..., Engine], tmp_path: Path) -> None:
        expected = build("whole").start(self.task())
        engine = build()
        run = engine.start(self.task())
        for point in POINTS[:2]:
            expected.advance(point)
            run.advance(point)
        run.close()
        shutil.rmtree(tmp_path / "sweep" / "trials")
        again = engine.start(self.task())
        retrained, original = again.finish(POINTS[0]), expected.finish(POINTS[0])
        again.close()
        expected.close()
        for name in self.objective.metrics:
            assert retrained[f"shift/other/{name}"] == pytest.approx(original[f"shift/other/{name}"], rel=1e-4)

    def test_finish_measures_shift_sets_at_best_report(self, build: Callable[..., Engine], tmp_path: Path) -> None:
        engine = build()
        run = engine.start(self.task())
        for point in POINTS:
            report = run.advance(point)
        found = dict(run.finish(POINTS[1]))
        assert found.pop("time/shift_s") > 0
        run.close()
        checkpoint = tmp_path / "sweep/trials/0000" / f"checkpoint-{POINTS[1]}"
        exact = {f"shift/other/{k}": v for k, v in engine.measure(checkpoint, self.task(), "other").metrics.items()}
        assert found == pytest.approx(exact, rel=1e-5)
        assert set(found) == {f"shift/other/{name}" for name in self.objective.metrics}
        stored = read_measurement(checkpoint.with_name("shift_other.json"), POINTS[1], None)
        assert stored is not None
        assert sum(stored.rows.losses) / sum(stored.rows.units) == pytest.approx(found["shift/other/loss"])
        last = engine.measure(checkpoint.with_name(f"checkpoint-{POINTS[-1]}") / "adapter", self.task(), "validation")
        assert last.metrics["loss"] == pytest.approx(report.metrics["val/loss"], rel=1e-6)
        assert set(engine.measure(checkpoint, self.task(), "test").metrics) == set(self.objective.metrics)
        with pytest.raises(LoratoryError, match="no adapter"):
            engine.measure(tmp_path, self.task(), "test")
        with pytest.raises(ValueError, match="no split 'nowhere'"):
            engine.measure(checkpoint, self.task(), "nowhere")

    def test_reports_hold_metrics_for_early_stopping(
        self, build: Callable[..., Engine], alike: Callable[..., bool]
    ) -> None:
        early = {"early": ("shift/other/loss",), "early_from": POINTS[1]}
        whole = self.all_reports(build("whole", **early), self.task())
        reports = self.all_reports(build("early", **early), self.task(), POINTS[:2])
        run = build("early", **early).start(self.task())  # resumes from the second report
        reports += [run.advance(point) for point in POINTS[2:]]
        found = dict(run.finish(POINTS[1]))
        run.close()

        def shift(all_reports: list[Report]) -> list[dict[str, float]]:
            return [{k: v for k, v in report.metrics.items() if k.startswith("shift/")} for report in all_reports]

        assert alike(shift(reports), shift(whole))
        assert [any(name.startswith("shift/") for name in report.metrics) for report in reports] == [
            point >= POINTS[1] for point in POINTS
        ]
        for name in self.objective.metrics:
            assert reports[1].metrics[f"shift/other/{name}"] == pytest.approx(found[f"shift/other/{name}"], rel=1e-4)

    def test_finish_records_test_rows(self, build: Callable[..., Engine], tmp_path: Path) -> None:
        engine, plain = build(record=True), build("plain")
        run, other = engine.start(self.task()), plain.start(self.task())
        for point in POINTS[:2]:
            run.advance(point)
            other.advance(point)
        found, expected = dict(run.finish(POINTS[0])), dict(other.finish(POINTS[0]))
        del found["time/shift_s"], expected["time/shift_s"]
        assert found == pytest.approx(expected, rel=1e-4)
        sweep = tmp_path / "sweep"
        recorded = read_recorded_test(TrialFolder(sweep, 0), POINTS[0])
        assert recorded is not None
        checkpoint = sweep / "trials/0000" / f"checkpoint-{POINTS[0]}"
        kept = engine.measure(checkpoint, self.task(), "test")
        assert recorded.metrics == pytest.approx(kept.metrics, rel=1e-5)
        assert recorded.rows.losses == pytest.approx(kept.rows.losses, rel=1e-4, abs=1e-5)
        assert recorded.rows.predictions == kept.rows.predictions
        rows = recorded.rows
        assert len(rows.losses) == len(rows.units) == 12
        assert sum(rows.losses) / sum(rows.units) == pytest.approx(recorded.metrics["loss"])
        classified = self.objective.head is Head.SEQUENCE_CLASSIFICATION
        assert len(rows.predictions) == len(rows.references) == (12 if classified else 0)
        assert read_recorded_test(TrialFolder(tmp_path / "plain", 0), POINTS[0]) is None

    def test_record_is_kept_or_remade(self, build: Callable[..., Engine], tmp_path: Path) -> None:
        """A killed driver's trial is finished again: the record is intact afterwards."""
        file = tmp_path / "sweep/trials/0000" / FILE

        def finished() -> Any:
            run = build(record=True).start(self.task())
            run.advance(POINTS[0])
            run.finish(POINTS[0])
            run.close()
            return json.loads(file.read_text())

        first, written = finished(), file.stat().st_mtime_ns
        assert finished() == first
        assert file.stat().st_mtime_ns == written
        file.write_text("{")
        remade = [finished()]
        file.write_text(json.dumps(first | {"samples": POINTS[1]}))
        remade.append(finished())
        shutil.rmtree(file.parent)
        remade.append(finished())
        for content in remade:
            assert content["samples"] == POINTS[0]
            assert content["rows"]["losses"] == pytest.approx(first["rows"]["losses"], rel=1e-4)

    @pytest.mark.parametrize("settings", SETTINGS, ids="-".join)
    def test_every_setting_has_an_effect(
        self, build: Callable[..., Engine], settings: dict[str, ParamValue], device: str
    ) -> None:
        self.skip_if_impossible(settings.get("init"))
        if device not in self.known:
            self.known[device] = self.first_loss(build("plain"))
        changed = self.first_loss(build(), **settings)
        assert math.isfinite(changed)
        assert changed != self.known[device]

    def first_loss(self, engine: Engine, **settings: ParamValue) -> float:
        run = engine.start(self.task(0, 7, **settings))
        report = run.advance(POINTS[0])
        run.close()
        return report.metrics["val/loss"]

    @pytest.mark.parametrize("precision", [Precision.BFLOAT16, Precision.FLOAT16])
    def test_two_bytes_are_close_to_float32(
        self, build: Callable[..., Engine], tmp_path: Path, precision: Precision
    ) -> None:
        engine = build("rough", precision=precision)
        rough = self.all_reports(engine, self.task())[-1]
        exact = self.all_reports(build("float32"), self.task())[-1]
        assert rough.metrics["val/loss"] != exact.metrics["val/loss"]
        assert rough.metrics["val/loss"] == pytest.approx(exact.metrics["val/loss"], rel=0.02)
        adapter = tmp_path / "rough" / (rough.checkpoint or "") / "adapter"
        measured = build("float32").measure(adapter, self.task(), "validation")
        assert measured.metrics["loss"] == pytest.approx(rough.metrics["val/loss"], rel=self.bfloat16_error)
