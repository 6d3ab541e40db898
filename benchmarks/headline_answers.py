"""How much better SmolLM2 writes BBC headlines after a short training: ROUGE-L against the untuned model.

``python -m benchmarks.headline_answers [--rows 128] [--epochs 2]`` trains one LoRA adapter and writes the headlines
of 48 test rows with the untuned model and with the adapter, greedily, at most 17 tokens each.
"""

import argparse
import tempfile
from contextlib import closing
from pathlib import Path

from orchestrator.core.data import DataPlan, Origin, Source
from orchestrator.core.sweeps.plan import EnginePlan
from orchestrator.core.tasks.generation import GenerationPlan
from orchestrator.core.trials.settings import TrialSettings
from orchestrator.core.trials.trial import TrialTask
from orchestrator.evaluation.generation.answers import score
from orchestrator.evaluation.generation.write import write
from orchestrator.evaluation.score_intervals import metric_intervals
from orchestrator.objective.loading import load_objective
from orchestrator.objective.protocol import generation_metrics
from orchestrator.training.context import EngineContext
from orchestrator.training.model.base_model import load_base
from orchestrator.training.solo.engine import SoloEngine

TEST_ROWS, LENGTH, TOKENS = 48, 96, 17
SETTINGS = {"learning_rate": 5e-4, "rank": 16, "alpha": 32.0, "batch_size": 8, "max_length": LENGTH}


def measure(rows: int, epochs: float, threads: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        plan = EnginePlan(
            objective="headline",
            model=Source(origin=Origin.PACKAGED, name="smollm2"),
            data=DataPlan(
                source=Source(origin=Origin.PACKAGED, name="bbc-news"),
                train=rows,
                validation=8,
                test=TEST_ROWS,
                train_eval=8,
            ),
            report_points=(round(rows * epochs),),
            sweep_dir=folder,
            metric="val/loss",
            threads=threads,
            generation=GenerationPlan(max_new_tokens=TOKENS, test_rows=TEST_ROWS),
        )
        context = EngineContext(plan, load_objective(plan.objective))
        task = TrialTask(number=0, settings=TrialSettings.from_params({**SETTINGS, "epochs": epochs}), seed=0)
        wanted = context.data.answer_rows("test", task, TEST_ROWS)
        base = load_base(plan.model, context.objective, context.device).model
        untuned = score(
            write(base, wanted.prompts, context.data.tokenizer, TOKENS),
            wanted.references,
            generation_metrics(context.objective),
        )
        print("untuned", {name: round(value, 4) for name, value in untuned.metrics.items()}, flush=True)
        with closing(SoloEngine(context)) as engine, closing(engine.start(task)) as run:
            report = run.advance(plan.report_points[-1])
            run.close()
            assert report.checkpoint is not None
            found = engine.measure(Path(folder) / report.checkpoint, task, "test")
        print("tuned", {name: round(value, 4) for name, value in found.metrics.items()})
        print("intervals", metric_intervals(found.metrics, found.rows, rows))
        ratio = found.metrics["rouge_l"] / untuned.metrics["rouge_l"]
        print(f"ROUGE-L {ratio:.2f} times the untuned model's")
        for answer, plain, reference in list(zip(found.rows.answers, untuned.answers, wanted.references, strict=True))[
            :8
        ]:
            print(f"{reference!r}: {answer!r}, untuned {plain!r}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=128)
    parser.add_argument("--epochs", type=float, default=2.0)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    measure(options.rows, options.epochs, options.threads)
