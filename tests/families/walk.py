"""Train a tiny model of one family in both engines, and compare with plain transformers and peft.

As a script it reads lines of ``model_type head`` and writes one line of JSON for each, with one process per family:
``python -m tests.families.walk < families > results``.
"""

import copy
import gc
import json
import multiprocessing
import resource
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from orchestrator.core.data import DataPlan, Origin, Source
from orchestrator.core.sweeps.plan import EngineName, EnginePlan, Precision
from orchestrator.core.trials.trial import TrialTask
from orchestrator.objective.protocol import Example, Head, Objective
from orchestrator.training.context import EngineContext
from tests.families.tiny_families import NotBuiltError, families, tiny_family

SECONDS = 300
"""Time limit per family; most need three seconds on an idle machine."""
MEMORY = 8 << 30
"""Limit of the address space of a family's process, in bytes; much less is used."""
POINT, ROWS = 16, 24
TOLERANCE = 2e-4


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """The result for a family with one head.

    Attributes:
        name: the model type.
        head: value of ``Head``.
        packs: whether its trials train together.
        why: reason not to pack, or not to train at all.
        refused: whether neither engine trains it.
        built: False if no tiny model could be built.
        off: by engine, the difference of its reports from plain transformers and peft with the exported adapter, one
            row at a time ("export"), and from a plain training loop ("training").
    """

    name: str
    head: str
    packs: bool = False
    why: str = ""
    refused: bool = False
    built: bool = True
    off: Mapping[str, float] | None = None

    @property
    def wrong(self) -> bool:
        """Whether an engine differs from plain transformers and peft."""
        return any(not value <= TOLERANCE for value in (self.off or {}).values())


def walked(name: str, head: Head, folder: Path, **changes: Any) -> Found:
    """Train a tiny model of a family in both engines, and compare."""
    import torch

    from orchestrator.training.mixed import MixedEngine
    from orchestrator.training.solo.engine import SoloEngine
    from tests.training.packed.packs import MADE_UP, task

    try:
        model = tiny_family(name, head, folder / "model", **changes)
    except NotBuiltError as error:
        return Found(name=name, head=head.value, built=False, why=str(error))
    torch.set_num_threads(1)
    plan = EnginePlan(
        objective="made up",
        model=Source(origin=Origin.LOCAL, name=str(model)),
        data=DataPlan(source=MADE_UP, train=ROWS, validation=5, test=4, train_eval=2),
        report_points=(POINT,),
        sweep_dir=str(folder / "solo"),
        metric="val/loss",
        precision=Precision.FLOAT32,
        device="cpu",
        threads=2,
        smallest={"rank": 2, "max_length": 48},
        largest={"rank": 2, "max_length": 48},
    )
    objective = _objectives()[head]
    tasks = [
        task(number, epochs=POINT / ROWS, batch_size=size, max_length=48, rank=4, learning_rate=3e-3)
        for number, size in ((0, 8), (1, 4))
    ]
    reports: dict[str, list[Any]] = {}
    try:
        context = EngineContext(plan, objective)
        with closing(SoloEngine(context)) as solo:
            with closing(solo.start(tasks[0])) as run:
                reports["solo"] = [run.advance(POINT)]
            rows, tokenizer = context.data.split("validation", 48), context.data.tokenizer
            trained = plain_training(model, context, tasks[0], folder / "plain")
    except Exception as error:  # noqa: BLE001  (shown on the page)
        return Found(name=name, head=head.value, refused=True, why=_describe_error(error))
    together = replace(plan, engine=EngineName.PACKED, sweep_dir=str(folder / "packed"))
    with closing(MixedEngine(EngineContext(together, objective))) as engine:
        capacity = engine.capacity(2, measure=False)
        if capacity.packs:
            reports["packed"] = _trained_together(engine, tasks)
    expected = plain_loss(model, trained, objective, rows, tokenizer)
    off = {
        f"{engine_name} training": _apart(found[0].metrics["val/loss"], expected)
        for engine_name, found in reports.items()
    }
    for engine_name, found in reports.items():
        for report in found:
            adapter = folder / engine_name / str(report.checkpoint) / "adapter"
            loss = report.metrics["val/loss"]
            off[f"{engine_name} export"] = max(
                off.get(f"{engine_name} export", 0.0),
                _apart(loss, plain_loss(model, adapter, objective, rows, tokenizer)),
            )
    return Found(name=name, head=head.value, packs=capacity.packs, why=capacity.why, off=off)


def _objectives() -> dict[Head, Objective]:
    from tests.fakes.tiny_objective import TinyCausal, TinyClassification, TinySeq2Seq, TinyTokens

    return {
        Head.SEQUENCE_CLASSIFICATION: TinyClassification(),
        Head.TOKEN_CLASSIFICATION: TinyTokens(),
        Head.CAUSAL_LM: TinyCausal(),
        Head.SEQ2SEQ_LM: TinySeq2Seq(),
    }


def _trained_together(engine: Any, tasks: Sequence[Any]) -> list[Any]:
    with ExitStack() as opened:
        runs = [opened.enter_context(closing(engine.start(trial))) for trial in tasks]
        wanted = dict.fromkeys(runs, POINT)
        found: dict[Any, Any] = {}
        while wanted:
            found |= engine.step(wanted)
            wanted = {run: point for run, point in wanted.items() if run not in found}
        return [found[run] for run in runs]


def plain_model(model: Path, objective: Objective) -> Any:
    """Return the model loaded by plain transformers."""
    import torch
    import transformers

    from tests.plain_peft import MODELS

    labels = {"num_labels": len(objective.labels)} if objective.labels else {}
    auto = getattr(transformers, MODELS[objective.head])
    return auto.from_pretrained(model, dtype=torch.float32, output_loading_info=True, **labels)


def plain_sums(model: Any, objective: Objective, rows: Sequence[Example], tokenizer: Any) -> tuple[Any, Any]:
    """Return the summed loss of rows and their units."""
    batch = objective.collate(rows, tokenizer)
    given = {key: value for key, value in batch.items() if key in {"input_ids", "attention_mask"}}
    if objective.head is Head.SEQ2SEQ_LM:
        shifted = getattr(model, "prepare_decoder_input_ids_from_labels", None)  # as in transformers' collator
        made = {"labels": batch["labels"].clone()}
        given |= made if shifted is None else made | {"decoder_input_ids": shifted(made["labels"].clone())}
    loss_B, units_B = objective.losses(model(**given).logits, batch)
    return loss_B.sum(), units_B.sum()


def plain_loss(model: Path, adapter: Path, objective: Objective, rows: Sequence[Example], tokenizer: Any) -> float:
    """Return the loss by plain transformers and peft, one row at a time, each with a new model."""
    import torch
    from peft import PeftModel

    from orchestrator.evaluation.row_independence import rope_length_limit

    sums = []
    loaded = PeftModel.from_pretrained(plain_model(model, objective)[0], adapter).eval()
    keeps = rope_length_limit(loaded) is not None
    for row in rows:
        plain = copy.deepcopy(loaded) if keeps else loaded
        with torch.inference_mode():
            sums.append([value.item() for value in plain_sums(plain, objective, [row], tokenizer)])
    loss, units = (sum(values) for values in zip(*sums, strict=True))
    return float(loss / units)


def plain_training(model: Path, context: EngineContext, task: TrialTask, folder: Path) -> Path:
    """Train a trial with a plain loop over peft's model; return its adapter's folder."""
    import torch
    from transformers import set_seed

    from orchestrator.training.data.update_plan import UpdatePlan
    from orchestrator.training.model.adapters import adapt
    from orchestrator.training.model.base_model import Base
    from orchestrator.training.optimiser import build_optimiser, schedule_factor

    objective, data = context.objective, context.data
    set_seed(task.seed)
    base, found = plain_model(model, objective)
    fresh = tuple(sorted({key.rpartition(".")[0] for key in found["missing_keys"]}))
    peft_model = adapt(
        Base(model=base, fresh_modules=fresh, revision=None), task.settings, objective.head
    ).model.train()
    update_plan = UpdatePlan.create(data, task, context.plan.timetable)
    optimiser = build_optimiser(peft_model, task.settings)
    trainable = [parameter for parameter in peft_model.parameters() if parameter.requires_grad]
    for update, rows in enumerate(update_plan.order):
        factor = schedule_factor(task.settings, update, len(update_plan.order))
        for group in optimiser.param_groups:
            group["lr"] = group.setdefault("peak", group["lr"]) * factor
        loss, units = plain_sums(peft_model, objective, [update_plan.rows[row] for row in rows], data.tokenizer)
        (loss / units).backward()
        torch.nn.utils.clip_grad_norm_(trainable, task.settings.max_grad_norm)
        optimiser.step()
        optimiser.zero_grad()
    peft_model.save_pretrained(str(folder), save_embedding_layers=False)
    return folder


def _apart(one: float, other: float) -> float:
    return abs(one - other) / max(1.0, abs(other))


def _describe_error(error: Exception) -> str:
    lines = str(error).splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"[:200]


def _in_a_process(name: str, head: Head, pipe: Connection) -> None:
    import transformers

    gc.collect()
    gc.freeze()  # otherwise every garbage collection scans ten libraries
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    with tempfile.TemporaryDirectory() as folder:
        try:
            found = walked(name, head, Path(folder))
        except Exception as error:  # noqa: BLE001  (a result of the walk)
            found = Found(name=name, head=head.value, refused=True, why=f"unexpected {_describe_error(error)}")
    pipe.send(asdict(found))


def walk(wanted: Sequence[tuple[str, Head]]) -> Iterator[Found]:
    """Yield the result of each family, each in its own process, one after the other.

    The processes are forks of a server without threads: a fork of this process hangs if another thread holds a lock.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["peft", "torch", "transformers", "tests.training.packed.packs"])  # once, for all
    for name, head in wanted:
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=_in_a_process, args=(name, head, sender))
        process.start()
        sender.close()
        try:
            found = receiver.recv() if receiver.poll(SECONDS) else {"why": f"not done after {SECONDS} s"}
        except EOFError:
            found = {"why": "its process died"}
        process.kill()
        process.join()
        yield Found(**({"name": name, "head": head.value, "refused": "off" not in found} | found))


if __name__ == "__main__":
    asked = [line.split() for line in sys.stdin] if not sys.stdin.isatty() else []
    for result in walk([(name, Head(head)) for name, head in asked] or families()):
        sys.stdout.write(json.dumps(asdict(result)) + "\n")
        sys.stdout.flush()
