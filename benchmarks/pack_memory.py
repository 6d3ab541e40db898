"""Memory of a pack's process against that of one solo trial, each in a process of its own, to its first report.

    python -m benchmarks.pack_memory [--slots 8] [--batch-size 16] [--dropout 0.1] [--rows 320]

MiniLM on movie reviews, LoRA r = 8 on all linear layers. Prints the peak of resident memory in MiB, libraries and data
included, and the ratio to the solo trial's. Linux only, where a process's peak can be read.
"""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from tempfile import TemporaryDirectory

import typer

from orchestrator.core.data import DataPlan, Origin, Source
from orchestrator.core.environment import prepare, usable_cores
from orchestrator.core.plan import EngineName, EnginePlan, Method
from orchestrator.core.settings import TrialSettings
from orchestrator.core.trial import TrialTask
from orchestrator.objective.loading import load_objective


def peak_of(engine_name: EngineName, trials: int, batch_size: int, dropout: float, rows: int) -> float:
    """Train trials to their first report, together if the engine packs; return this process's peak in MiB."""
    from orchestrator.training.build import build_engine
    from orchestrator.training.engine import PackingEngine, TrialRun
    from orchestrator.training.memory import peak_mb

    prepare()
    settings = TrialSettings(rank=8, batch_size=batch_size, dropout=dropout, max_length=64, learning_rate=1e-3)
    with TemporaryDirectory() as folder:
        plan = EnginePlan(
            objective="sentiment",
            method=Method.LORA,
            model=Source(origin=Origin.PACKAGED, name="minilm"),
            data=DataPlan(
                source=Source(origin=Origin.PACKAGED, name="vader-movie"),
                train=rows,
                validation=200,
                test=100,
                train_eval=50,
            ),
            report_points=(rows,),
            sweep_dir=folder,
            metric="val/accuracy",
            threads=usable_cores(),
            engine=engine_name,
        )
        engine = build_engine(plan)
        runs: dict[TrialRun, int] = {
            engine.start(TrialTask(number=number, settings=settings, seed=number)): rows for number in range(trials)
        }
        if isinstance(engine, PackingEngine):
            while runs:
                for run in engine.step(runs):
                    del runs[run]
        else:
            for run in runs:
                run.advance(rows)
        return peak_mb(plan.device)


def main(slots: int = 8, batch_size: int = 16, dropout: float = 0.1, rows: int = 320) -> None:
    """Measure and print."""
    load_objective("sentiment")  # a missing asset is said before any process is started
    peaks = []
    for engine_name, trials in ((EngineName.SOLO, 1), (EngineName.PACKED, 1), (EngineName.PACKED, slots)):
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as alone:
            peaks.append(alone.submit(peak_of, engine_name, trials, batch_size, dropout, rows).result())
        print(f"{engine_name} {trials}: {peaks[-1]:,.0f} MiB, {peaks[-1] / peaks[0]:.2f}", flush=True)


if __name__ == "__main__":
    typer.run(main)
