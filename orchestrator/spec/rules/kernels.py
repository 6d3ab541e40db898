"""Checks of how trials compute: number format, attention, recomputed activations, compilation. No torch."""

from collections.abc import Mapping

from orchestrator.core.methods.catalogue import ADALORA, LORA, takers
from orchestrator.core.methods.inits import INITS
from orchestrator.core.methods.quantisation import Quantisation
from orchestrator.core.space import ParamValue, Space
from orchestrator.core.sweeps.plan import Attention, EngineName, Precision
from orchestrator.core.system.environment import not_installed
from orchestrator.spec.document.problems import Problems
from orchestrator.spec.sections.possible import possible
from orchestrator.spec.sections.sweep_file import SweepFile

_FLASH_PACKAGE = "flash_attn"


def check_kernels(file: SweepFile, fixed: Mapping[str, ParamValue], space: Space, problems: Problems) -> None:
    """Check that the engine, the device and the installed packages can compute as the sweep file asks.

    The solo engine also trains every trial of a packed sweep if none of its methods can be packed.
    """
    training = file.training
    packs = any(trial["method"] == LORA for trial in possible(space, fixed, ("method",)))
    solo = file.resources.engine is EngineName.SOLO or not packs
    if training.attention is not Attention.AUTO and not solo:
        message = f"the packed engine has its own attention; {training.attention} needs resources: {{engine: solo}}"
        problems.add(("training", "attention"), message)
    if training.attention is Attention.FLASH:
        _check_flash(file, problems)
    if training.gradient_checkpointing and not solo:
        message = "the packed engine keeps the activations of a step; true needs resources: {engine: solo}"
        problems.add(("training", "gradient_checkpointing"), message)
    if training.precision is Precision.FLOAT16:
        _check_float16(file, fixed, space, problems)
    _check_rounding(file, fixed, space, problems)
    if training.compile:
        message = (
            "is not possible: batches have different lengths and trials different ranks, and torch.compile compiles "
            "again for each shape; leave it out"
        )
        problems.add(("training", "compile"), message)


def _check_float16(file: SweepFile, fixed: Mapping[str, ParamValue], space: Space, problems: Problems) -> None:
    """Check that no trial in float16 needs more than its own loss scale."""
    path = ("training", "precision")
    if file.training.deepspeed is not None:
        problems.add(path, "float16 is trained without DeepSpeed only; use bfloat16 or float32")
    if file.resources.workers_per_trial > 1:
        problems.add(path, "float16 is trained in one process per trial; use bfloat16 or float32")
    if any(trial["method"] == ADALORA for trial in possible(space, fixed, ("method",))):
        problems.add(path, f"{ADALORA} needs a gradient in every update, and float16 drops some; use float32")


def _check_rounding(file: SweepFile, fixed: Mapping[str, ParamValue], space: Space, problems: Problems) -> None:
    """Check that an init that corrects the rounding to 4 bits has a base model in 4 bits."""
    if file.quantisation is not None and file.quantisation is not Quantisation.INT8:
        return
    path = ("search", "space", "init") if space.has("init") else ("adapter", "init")
    for trial in possible(space, fixed, ("method", "init")):
        init = str(trial["init"])
        if trial["method"] in takers("init") and INITS[init].corrects_rounding:
            message = f"{init} corrects the rounding of a base model in 4 bits; add quantisation: nf4"
            problems.add_if_unrelated(path, message)
            return


def _check_flash(file: SweepFile, problems: Problems) -> None:
    path = ("training", "attention")
    if missing := not_installed(_FLASH_PACKAGE, Attention.FLASH.value):
        problems.add(path, missing.replace(_FLASH_PACKAGE, "flash-attn"))
    if file.training.device == "cpu":
        problems.add(path, f"{Attention.FLASH} needs a CUDA device, got training.device=cpu; use sdpa")
    if file.training.precision is Precision.FLOAT32:
        problems.add(path, f"{Attention.FLASH} computes in bfloat16, got training.precision=float32; use sdpa")
