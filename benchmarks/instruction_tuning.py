"""Instruction tuning beside TRL's ``SFTTrainer`` on the same rows, and the share of answers that keep the format.

    python -m venv --system-site-packages /tmp/trl && /tmp/trl/bin/pip install --no-deps trl==1.16.0
    python -m benchmarks.instruction_tuning --trl /tmp/trl/bin/python [--seeds 2] [--set data.train=96]

The sweep ``docs/examples/instructions.yaml`` with one configuration trains it once, and again with fresh seeds. TRL
trains the same configuration with ``assistant_only_loss`` and the model's template with ``{% generation %}`` marks, so
both losses are on the assistant's tokens. Both train in bfloat16 and are measured on the validation rows. The aim is a
loss of at most 0.05 nats a token, equal to TRL's within the noise between seeds.

An answer to a test prompt keeps the format if it is JSON with a topic of one word and a year, and nothing else.
"""

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.core.system.environment import set_environment_defaults

if TYPE_CHECKING:
    import datasets
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from orchestrator.core.space import ParamValue

ROOT = Path(__file__).parent.parent
SWEEP = ROOT / "docs" / "examples" / "instructions.yaml"
POINT = {"learning_rate": 1.0e-3, "rank": 16}
MAX_NEW_TOKENS = 40


def keeps_format(answer: str) -> bool:
    """Return whether an answer is JSON with a topic of one word and a year, and nothing else."""
    try:
        found = json.loads(answer)
    except ValueError:
        return False
    if not isinstance(found, dict) or found.keys() != {"topic", "year"}:
        return False
    topic, year = found["topic"], found["year"]
    return isinstance(topic, str) and len(topic.split()) == 1 and isinstance(year, int) and not isinstance(year, bool)


def is_right(answer: str, reference: str) -> bool:
    """Return whether an answer has the reference's values."""
    return keeps_format(answer) and json.loads(answer) == json.loads(reference)


def prompts_of(rows: "datasets.Dataset") -> tuple[list[str], list[str]]:
    """Return the conversations before their last turn as JSON, and this turn."""
    messages = rows["messages"][:]
    return [json.dumps(each[:-1]) for each in messages], [each[-1]["content"] for each in messages]


def untuned_answers(prompts: list[str], base: str) -> list[str]:
    """Return the base model's own answers, by greedy decoding."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(base)
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(base).eval()
    answers = []
    for prompt in prompts:
        text = tokenizer.apply_chat_template(json.loads(prompt), add_generation_prompt=True, tokenize=False)
        ids: Any = tokenizer(text, add_special_tokens=False, return_tensors="pt")
        generate: Any = model.generate
        with torch.inference_mode():
            written = generate(**ids, max_new_tokens=MAX_NEW_TOKENS, do_sample=False)
        answers.append(str(tokenizer.decode(written[0, ids["input_ids"].shape[1] :], skip_special_tokens=True)).strip())
    return answers


def main(
    trl: Annotated[Path, typer.Option(help="Interpreter of an environment with TRL.")],
    seeds: Annotated[int, typer.Option(min=2, help="Trainings of each side.")] = 2,
    rows: Annotated[list[str] | None, typer.Option("--set", help="Values of the sweep, such as data.train=96.")] = None,
) -> None:
    """Train both sides and print the results as JSON."""
    home = tempfile.mkdtemp(prefix="instruction-tuning-")
    os.environ |= {"LORATORY_HOME": f"{home}/home", "LORATORY_MLFLOW_DIR": f"{home}/mlflow"}
    set_environment_defaults()
    import threading

    from orchestrator.assets.models import resolve_model
    from orchestrator.objective.loading import load_objective
    from orchestrator.promotion.export.peft_folder import export_adapter
    from orchestrator.serving.predictor import Predictor
    from orchestrator.stores import read_spec, stored_sweep
    from orchestrator.sweep import SweepOptions, run_sweep
    from orchestrator.tracking.location import locate

    overrides = (
        *(f"search.space.{name}={{choices: [{value}]}}" for name, value in POINT.items()),
        "budget.trials=1",
        f"confirm={{top: 1, seeds: {seeds - 1}}}",
        f"tracking.keep_adapters={seeds}",
        *(rows or []),
    )
    spec = read_spec(SWEEP, overrides)
    run_sweep(spec, SweepOptions(inline=True), (), threading.Event(), lambda line: typer.echo(line, err=True))
    stored = stored_sweep("instructions")
    measured = [trial.result(spec.metric) for trial in stored.records]  # the trial and its fresh seeds
    ours = [loss for loss in measured if loss is not None]
    typer.echo(f"validation loss of each training: {ours}", err=True)
    folder = export_adapter(stored.candidates().choose(), Path(home) / "export")
    splits = load_objective(spec.objective).splits(spec.data)
    prompts, references = prompts_of(splits.test)
    answers = [each.answer or "" for each in Predictor.load(str(folder), locate(spec.tracking)).predict(prompts)]
    base = resolve_model(spec.model)
    untuned = untuned_answers(prompts, base)
    for name, some in (("train", splits.train), ("validation", splits.validation)):
        some.select_columns(["messages"]).to_json(str(Path(home) / f"{name}.jsonl"))
    theirs = [json.loads(_trl(trl, base, Path(home), seed, spec.fixed)) for seed in range(seeds)]
    losses = [each["loss"] for each in theirs]
    result = {
        "ours_val_loss": ours,
        "trl_val_loss": losses,
        "untuned_val_loss": theirs[0]["untuned"],
        "difference": fmean(ours) - fmean(losses),
        "seed_sd": stdev(ours),
        "keeps_format": fmean(map(keeps_format, answers)),
        "is_right": fmean(is_right(*pair) for pair in zip(answers, references, strict=True)),
        "untuned_keeps_format": fmean(map(keeps_format, untuned)),
        "prompts": len(prompts),
    }
    typer.echo(json.dumps(result, indent=2))


def _trl(python: Path, base: str, folder: Path, seed: int, fixed: "Mapping[str, ParamValue]") -> str:
    """Return the output of one TRL training in its own process."""
    command = [str(python), str(Path(__file__).with_name("plain_sft.py")), base, str(folder), str(seed)]
    settings = json.dumps({**POINT, **{key: fixed[key] for key in ("alpha", "dropout", "batch_size", "epochs")}})
    done = subprocess.run([*command, settings], check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout.splitlines()[-1]


if __name__ == "__main__":
    typer.run(main)
