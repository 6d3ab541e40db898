"""Does a bfloat16 base cost quality? The same trials with both number formats, over several seeds.

    python -m benchmarks.precision [--seeds 5] [--rows 2000] [--epochs 1] [--threads 2]

MiniLM on movie reviews, one LoRA configuration, packed. Every seed trains once over a float32 base and once over a
bfloat16 base, with the same rows in the same order; the last checkpoint is then measured in float32 on 1,500
validation rows. Prints a table, the difference of the formats' means, and the spread over the seeds.
"""

import statistics
import tempfile
import time
from pathlib import Path

import typer

from orchestrator.core.data import DataPlan, Origin, Source
from orchestrator.core.sweeps.plan import EngineName, EnginePlan, Precision
from orchestrator.core.system.environment import set_environment_defaults, usable_cores
from orchestrator.core.trials.settings import TrialSettings
from orchestrator.core.trials.trial import Report, TrialTask
from orchestrator.objective.loading import load_objective
from orchestrator.training.checkpoints.trial_folder import TrialFolder
from orchestrator.training.engine import TrialRun

SETTINGS = TrialSettings(rank=16, alpha=32.0, dropout=0.05, learning_rate=1e-3, batch_size=16, max_length=64)


def trained(precision: Precision, seeds: int, rows: int, epochs: float, threads: int) -> dict[int, dict[str, float]]:
    """Return the validation loss and accuracy of each seed's last checkpoint."""
    from orchestrator.training.context import EngineContext
    from orchestrator.training.mixed import MixedEngine

    samples = round(rows * epochs)
    with tempfile.TemporaryDirectory() as folder:
        plan = EnginePlan(
            objective="sentiment",
            model=Source(origin=Origin.PACKAGED, name="minilm"),
            data=DataPlan(
                source=Source(origin=Origin.PACKAGED, name="vader-movie"),
                train=rows,
                validation=1500,
                test=100,
                train_eval=50,
            ),
            report_points=(samples,),
            sweep_dir=folder,
            metric="val/accuracy",
            precision=precision,
            threads=threads,
            engine=EngineName.PACKED,
        )
        engine = MixedEngine(EngineContext(plan, load_objective("sentiment")))
        tasks = [TrialTask(number=seed, settings=SETTINGS, seed=seed) for seed in range(seeds)]
        waiting: dict[TrialRun, int] = {engine.start(task): samples for task in tasks}
        while waiting:
            for run, outcome in engine.step(waiting).items():
                if not isinstance(outcome, Report):
                    raise outcome
                del waiting[run]
                run.close()
        found = {
            task.seed: dict(
                engine.measure(TrialFolder(Path(folder), task.number).checkpoint(samples), task, "validation").metrics
            )
            for task in tasks
        }
        engine.close()
    return found


def main(seeds: int = 5, rows: int = 2000, epochs: float = 1.0, threads: int = usable_cores()) -> None:
    """Train and print."""
    set_environment_defaults()
    found = {}
    for precision in (Precision.FLOAT32, Precision.BFLOAT16):
        began = time.perf_counter()
        found[precision] = trained(precision, seeds, rows, epochs, threads)
        print(f"{precision}: {time.perf_counter() - began:.0f} s", flush=True)
    print("seed  " + "  ".join(f"{precision} loss accuracy" for precision in found))
    for seed in range(seeds):
        print(
            f"{seed:4d}  " + "  ".join(f"{one[seed]['loss']:.4f} {one[seed]['accuracy']:.4f}" for one in found.values())
        )
    for name in ("loss", "accuracy"):
        columns = [[one[seed][name] for seed in range(seeds)] for one in found.values()]
        means, spreads = [*map(statistics.mean, columns)], [*map(statistics.stdev, columns)]
        print(f"{name}: means {means[0]:.4f} {means[1]:.4f}, standard deviations {spreads[0]:.4f} {spreads[1]:.4f}")


if __name__ == "__main__":
    typer.run(main)
