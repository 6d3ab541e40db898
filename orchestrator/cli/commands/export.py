"""``export``: write an adapter as a plain PEFT folder."""

from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli.options import Json, Retrain, SweepName, Trial
from orchestrator.cli.screen import Screen
from orchestrator.stores import logs_folder, stored_sweep


def export(
    name: SweepName,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="New or empty folder.")],
    trial: Trial = None,
    retrain: Retrain = False,
    plain_scaling: Annotated[
        bool,
        typer.Option(
            "--plain-scaling",
            help="Write rsLoRA's alpha as alpha * sqrt(rank): llama.cpp and SGLang divide it by the rank.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Write a trial's adapter and head as a folder for plain peft and transformers."""
    from orchestrator.promotion.export.peft_folder import export_adapter

    screen = Screen(as_json=as_json)
    stored = stored_sweep(name)
    with screen.quiet(logs_folder() / "export.log"):
        candidate = stored.candidates().choose(trial, stored.retrain if retrain else None)
        target = export_adapter(candidate, folder, plain_scaling=plain_scaling)
    if candidate.card.rslora and not plain_scaling:
        screen.say("this adapter is scaled by alpha / √rank (rsLoRA); llama.cpp and SGLang need --plain-scaling")
    files = sorted(str(path.relative_to(target)) for path in target.rglob("*") if path.is_file())
    screen.show(f"trial {candidate.trial.number} of {stored.sweep.reference} written to {target}: {', '.join(files)}")
    screen.emit(
        {"sweep": stored.sweep.reference, "trial": candidate.trial.number, "folder": str(target), "files": files}
    )
