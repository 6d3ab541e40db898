"""The story of a sweep in this process: counted time, refusals, resumption and the final state of the ledger."""

import threading
import time
from dataclasses import replace
from pathlib import Path

import huggingface_hub.constants
import pytest

from orchestrator.core.errors import AssetError, DataError, LoratoryError, ModelError, SweepChangedError, UserError
from orchestrator.core.methods.quantisation import Quantisation, loading_arguments
from orchestrator.core.sweeps.control import Answer, ControlKind, ControlRequest, Limits
from orchestrator.core.sweeps.sweep import SweepStatus
from orchestrator.core.trials.trial import TrialState
from orchestrator.ledger.ledger import Ledger
from orchestrator.preparation.continuation import next_action
from orchestrator.preparation.prepared import prepare
from orchestrator.preparation.preview import SweepPlan, preview
from orchestrator.preparation.request import request_of
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.stores import read_spec, stored_sweep
from orchestrator.sweep import SweepOptions, SweepResult, run_sweep
from orchestrator.tracking.location import connect, holds_runs, locate
from tests import needs
from tests.fakes.tiny_models import tiny_bert, tiny_gpt2
from tests.fakes.tiny_sweep import tiny_sweep

pytestmark = pytest.mark.usefixtures("own_stores")


def run(file: Path, *overrides: str) -> SweepResult:
    spec = read_spec(file, overrides)
    return run_sweep(spec, SweepOptions(inline=True), (), threading.Event(), lambda _line: None)


def planned(spec: SweepSpec) -> SweepPlan:
    """Plan as ``--dry-run`` does."""
    return preview(prepare(request_of(spec), None))


def test_only_commands_with_work_add_time(tmp_path: Path) -> None:
    file = tiny_sweep(tmp_path)
    first = run(file).sweep
    assert first.elapsed_s > 0
    assert first.facts.startup_s > 0
    assert first.status is SweepStatus.FINISHED

    again = run(file).sweep
    assert again.status is SweepStatus.FINISHED
    assert again.elapsed_s == first.elapsed_s
    assert (again.facts.startup_s, again.facts.closings) == (first.facts.startup_s, first.facts.closings)

    measured = run(file, "tracking.keep_adapters=2", "budget.trials=3").sweep
    assert measured.elapsed_s > first.elapsed_s
    assert measured.facts.startup_s > first.facts.startup_s


def test_extension_reopens_a_finished_sweep(tmp_path: Path) -> None:
    file = tiny_sweep(tmp_path)
    first = run(file)
    ledger = Ledger.open()
    more = ControlRequest(id=0, kind=ControlKind.EXTEND, by="anna@lab", at=0.0, more=Limits(trials=1))
    ledger.requests.add(first.sweep.id, more)
    assert next_action(ledger, prepare(request_of(read_spec(file)), ledger), fresh=False) == (
        "first answers extend by 1 trial; without this, it starts no trial: "
        "all 2 trials of tiny#1 ended; report and tracking are completed"
    )
    extended = run(file)
    assert extended.finished
    assert extended.records[:2] == first.records
    assert len(extended.records) == 3
    plan = preview(prepare(request_of(read_spec(file)), ledger))
    assert plan.budget.trials == 3, "the plan of the same file shows the extended budget"
    assert preview(prepare(request_of(read_spec(file)), ledger, fresh=True)).budget.trials == 2
    assert run(file).sweep == extended.sweep


FAILING = """
import time
from pathlib import Path

def run(config, report):
    if config.trial == 5:
        Path("waits").touch()
        while not Path("go").exists():
            time.sleep(0.05)
        time.sleep(1.5)  # the driver looks for requests every second
    report({"val/loss": float("nan") if config.trial else 1.0}, samples=config.samples)
"""
FAILING_SWEEP = """
name: failing
objective: ./failing.py:run
function: {samples: 10, metrics: {loss: minimize}}
search: {sampler: random, space: {rate: {low: 0.0, high: 1.0}}}
early_stopping: {rule: none, reports: 1}
budget: {trials: 9}
"""


def test_failing_sweep_does_not_wait_in_a_pause(tmp_path: Path) -> None:
    """A person pauses it during trial 5; the next coordinator would count failures from 0."""
    (tmp_path / "failing.py").write_text(FAILING)
    (tmp_path / "failing.yaml").write_text(FAILING_SWEEP)
    stop = threading.Event()

    def person() -> None:
        while not (tmp_path / "waits").exists() and not stop.wait(0.05):
            pass
        ledger = Ledger.open()
        pause = ControlRequest(id=0, kind=ControlKind.PAUSE, by="anna@lab", at=time.time())
        ledger.requests.add(ledger.sweeps.find("failing").id, pause)
        (tmp_path / "go").touch()

    limit = threading.Timer(120, stop.set)
    threads = (limit, threading.Thread(target=person))
    for thread in threads:
        thread.start()
    try:
        with pytest.raises(LoratoryError, match="5 of 6 trials failed"):
            run_sweep(read_spec(tmp_path / "failing.yaml"), SweepOptions(inline=True), (), stop, lambda _line: None)
    finally:
        stop.set()
        limit.cancel()
        for thread in threads:
            thread.join()
    ledger = Ledger.open()
    (pause,) = ledger.requests.all(ledger.sweeps.find("failing").id)
    assert (pause.kind, pause.answer) == (ControlKind.PAUSE, Answer.DONE)


def test_unfit_model_is_refused_before_opening(tmp_path: Path) -> None:
    file = tiny_sweep(tmp_path)
    with pytest.raises(ModelError, match=r"data\.max_length: at most 128 tokens fit the positions of .*got 129"):
        run(file, "data.max_length=129")
    file.write_text(file.read_text().replace("  max_length: 16\n", ""))
    with pytest.raises(ModelError, match=r"data\.max_length: at most 128 tokens .*got 200"):
        planned(read_spec(file, ["search.space.max_length={choices: [16, 200]}"]))
    for tokenizer in (tmp_path / "model").glob("tokenizer*"):
        tokenizer.unlink()
    with pytest.raises(ModelError, match="there are no tokenizer files beside the model"):
        run(file)
    with pytest.raises(ModelError, match="there are no tokenizer files beside the model"):
        planned(read_spec(file, []))
    assert Ledger.open().sweeps.all() == ()


def test_packed_preview_reads_the_rows_once(tmp_path: Path) -> None:
    spec = read_spec(tiny_sweep(tmp_path), ["resources.engine=packed"])
    prepared = prepare(request_of(spec), None)
    (tmp_path / "rows.csv").unlink()
    assert preview(prepared).engine == "packed"


def test_model_note_is_shown_once(tmp_path: Path) -> None:
    file, config = tiny_sweep(tmp_path), tmp_path / "model" / "config.json"
    config.write_text(config.read_text().replace('"pad_token_id": 0', '"pad_token_id": 1'))
    (note,) = planned(read_spec(file, ["resources.engine=solo"])).notes
    assert "the tokenizer pads with '[PAD]' (0), the configuration has pad_token_id 1" in note
    said: list[str] = []
    stop = threading.Event()
    stop.set()
    run_sweep(read_spec(file, []), SweepOptions(inline=True), (), stop, said.append)
    assert said.count(note) == 1


def test_changed_input_reopens_a_finished_sweep(tmp_path: Path) -> None:
    file, rows = tiny_sweep(tmp_path), tmp_path / "rows.csv"
    first, text = run(file), rows.read_text()
    rows.write_text(text.replace("nice", "good"))
    with pytest.raises(SweepChangedError, match="data: the rows have changed in"):
        run(file)
    rows.write_text(text)
    with pytest.raises(SweepChangedError, match="seed: 3 → 4"):
        run(file, "seed=4")
    assert run(file).records == first.records

    Path(first.report).unlink()
    connect(locate()).delete_run(first.records[0].run_id or "")
    again = run(file)
    assert Path(again.report).is_file()
    assert again.synced
    assert holds_runs(locate(), [again.sweep.run_id, *(record.run_id for record in again.records)])


def test_resume_keeps_the_split_rule(tmp_path: Path) -> None:
    file, rows = tiny_sweep(tmp_path), tmp_path / "rows.csv"
    signs = [f"{sign} film {i},{('negative', 'positive')[i % 2]}" for i in range(40) for sign in ("C", "C++", "C#")]
    rows.write_text(rows.read_text() + "\n".join(signs) + "\n")
    overrides = ("data.train=null", "budget.trials=1")
    spec = read_spec(file, overrides)
    old = replace(spec, data=replace(spec.data, split_rule=1))
    first = run_sweep(old, SweepOptions(inline=True), (), threading.Event(), lambda _line: None).sweep
    assert "split_rule" not in first.fingerprint, "as sweeps were stored when there was one rule"
    assert first.facts.rows["train"] == 136

    again = run(file, "data.train=null", "budget.trials=2")
    assert (again.sweep.id, len(again.records)) == (first.id, 2)
    assert again.sweep.facts.rows == first.facts.rows
    assert stored_sweep("tiny").engine_plan(tmp_path).data.split_rule == 1

    fresh = run_sweep(spec, SweepOptions(inline=True, fresh=True), (), threading.Event(), lambda _line: None).sweep
    assert (fresh.generation, fresh.fingerprint["split_rule"]) == (2, 2)
    assert fresh.facts.rows["train"] == 216


def test_unavailable_hub_model_opens_no_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(AssetError, match="model hub:org/absent could not be loaded"):
        run(tiny_sweep(tmp_path), "model=hub:org/absent")
    assert Ledger.open().sweeps.all() == ()


def test_failed_preparation_leaves_no_running_sweep(tmp_path: Path) -> None:
    file = tiny_sweep(tmp_path)
    (tmp_path / "model" / "config.json").rename(tmp_path / "config.json")
    with pytest.raises(AssetError, match=r"has no config\.json"):
        run(file)
    assert Ledger.open().sweeps.all() == ()
    (tmp_path / "config.json").rename(tmp_path / "model" / "config.json")
    assert run(file).finished

    (tmp_path / "model" / "config.json").unlink()
    with pytest.raises(AssetError):
        run(file)
    assert Ledger.open().sweeps.find("tiny").status is SweepStatus.FINISHED


@pytest.mark.parametrize("engine", ["solo", "packed"])
def test_adapter_refused_by_peft_costs_no_trial(engine: str, tmp_path: Path) -> None:
    file = tiny_sweep(tmp_path)
    tiny_gpt2(tmp_path / "gpt2")
    model = (f"model={tmp_path / 'gpt2'}", f"resources.engine={engine}")
    with pytest.raises(
        UserError, match=r"^search\.space\.method: method lokr cannot be trained on this model: .*Conv1D"
    ):
        run(file, *model, "search.space.method={choices: [lora, lokr]}")
    assert not any(Ledger.open().trials.all(sweep.id) for sweep in Ledger.open().sweeps.all())
    assert run(file, *model, "budget.trials=1").finished


def test_solo_engine_shows_adapter_notes(tmp_path: Path) -> None:
    spec = read_spec(tiny_sweep(tmp_path), ("adapter.method=lokr", "resources.engine=solo", "budget.trials=1"))
    said: list[str] = []
    run_sweep(spec, SweepOptions(inline=True), (), threading.Event(), said.append)
    assert any(line.startswith("lokr on all-linear: from rank 2 on") for line in said)


def test_packed_sweep_mixes_methods(tmp_path: Path) -> None:
    file = tiny_sweep(tmp_path)
    mixed = ("search.space.method={choices: [lora, ia3]}", "search.start=[{method: ia3}, {method: lora}]")
    done = run(file, *mixed, "resources.engine=packed")
    assert done.finished
    for record, method in zip(done.records, ("ia3", "lora"), strict=True):
        assert (record.params["method"], record.settings.method) == (method, method)
        assert record.state is TrialState.COMPLETE
    stored = stored_sweep("tiny")
    kinds = ({"method": "lora"}, {"method": "ia3"})
    assert stored.engine_plan(tmp_path).kinds == kinds
    assert "test/accuracy" in stored.candidates().choose().card.metrics


def test_sweep_searches_options_of_methods(tmp_path: Path) -> None:
    options = (
        "search.space.method={choices: [lora, oft, prompt_tuning]}",
        "search.space.options.oft_block_size={choices: [4, 8], when: {method: oft}}",
        "search.space.options.num_virtual_tokens={low: 2, high: 4, when: {method: prompt_tuning}}",
        "search.start=[{method: oft, options.oft_block_size: 4}, {method: prompt_tuning}]",
    )
    done = run(tiny_sweep(tmp_path), *options, "resources.engine=packed")
    assert done.finished
    oft, prompt = done.records
    assert oft.settings.options == {"oft_block_size": 4}
    assert prompt.settings.options.keys() == {"num_virtual_tokens"}
    assert [record.state for record in done.records] == [TrialState.COMPLETE] * 2
    assert run(tiny_sweep(tmp_path), *options, "resources.engine=packed").records == done.records  # from the ledger
    assert "test/accuracy" in stored_sweep("tiny").candidates().choose().card.metrics


@needs.bitsandbytes
def test_quantisation_reaches_the_model_card(tmp_path: Path) -> None:
    file = tiny_sweep(tmp_path)
    tiny_bert(tmp_path / "model", width=64)
    run(file, "quantisation=nf4", "resources.engine=packed", "budget.trials=1")
    stored = stored_sweep("tiny")
    assert stored.engine_plan(tmp_path).quantisation is Quantisation.NF4
    card = stored.candidates().choose().card
    assert card.quantisation == loading_arguments(Quantisation.NF4)
    assert "test/accuracy" in card.metrics


@needs.deepspeed
def test_deepspeed_setting_reaches_the_tracker(tmp_path: Path) -> None:
    found = run(tiny_sweep(tmp_path), "training.deepspeed=zero2", "resources.engine=packed", "budget.trials=1")
    assert stored_sweep("tiny").engine_plan(tmp_path).deepspeed == {"zero_optimization": {"stage": 2}}
    assert [record.state for record in found.records] == [TrialState.COMPLETE]
    assert found.sweep.run_id is not None
    params = connect(locate(read_spec(tmp_path / "tiny.yaml").tracking)).get_run(found.sweep.run_id).data.params
    assert params["deepspeed"] == "ZeRO-2"


def test_found_classes_are_kept_on_resume(tmp_path: Path) -> None:
    file = tiny_sweep(tmp_path)
    rows = tmp_path / "rows.csv"
    first = run(file, "objective=classification", "budget.trials=1").sweep
    assert first.fingerprint["data"]["classes"] == ["negative", "positive"]
    assert first.facts.data_summary.class_order == "by name"
    stored = stored_sweep(first.reference)
    assert stored.candidates().choose().card.labels == ("negative", "positive")
    assert {*stored.read_splits().test["label"]} == {0, 1}
    resumed = run(file, "objective=classification", "budget.trials=2").sweep
    assert (resumed.id, resumed.fingerprint) == (first.id, first.fingerprint)
    rows.write_text(rows.read_text().replace(",negative\n", ",bad\n"))
    with pytest.raises(
        DataError, match=r"'bad' .*is not a class of classification.*The classes are negative, positive"
    ):
        run(file, "objective=classification", "budget.trials=3")
