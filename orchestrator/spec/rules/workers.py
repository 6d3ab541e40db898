"""Checks of trials with several processes, and of divided weights."""

from collections.abc import Mapping

from orchestrator.core.methods.catalogue import METHODS
from orchestrator.core.methods.deepspeed import Config, partitions_weights
from orchestrator.core.space import ParamValue, Space
from orchestrator.core.sweeps.plan import EngineName
from orchestrator.core.trials.settings import RULES
from orchestrator.spec.document.problems import KeyPath, Problems
from orchestrator.spec.sections.possible import possible
from orchestrator.spec.sections.sweep_file import SweepFile

_WORKERS: KeyPath = ("resources", "workers_per_trial")


def check_workers(
    file: SweepFile, config: Config | None, fixed: Mapping[str, ParamValue], space: Space, problems: Problems
) -> None:
    """Check the engine, methods, sizes and format of trials with several workers, and the format of divided weights."""
    if file.quantisation is not None and partitions_weights(config):
        message = f"ZeRO-3 divides no quantised weights, got quantisation={file.quantisation}; use stage 2"
        problems.add(("training", "deepspeed"), message)
    workers = file.resources.workers_per_trial
    if workers == 1:
        return
    if file.resources.engine is not EngineName.SOLO or ":" in file.objective:
        problems.add(_WORKERS, f"several workers need resources: {{engine: solo}}, got {workers}", at_key=True)
    if file.resources.gpus_per_trial % workers:
        message = f"a whole number of GPUs for each of the {workers} workers is needed"
        problems.add(("resources", "gpus_per_trial"), f"{message}, got {file.resources.gpus_per_trial:g}")
    if file.quantisation is not None and file.training.deepspeed is None:
        message = "FSDP2 divides no quantised weights; use training.deepspeed=zero2, or leave out quantisation"
        problems.add(_WORKERS, message, at_key=True)
    trials = possible(space, fixed, ("method", "batch_size"))
    untried = [trial["method"] for trial in trials if not METHODS[str(trial["method"])].with_deepspeed]
    if untried:
        supported = ", ".join(name for name, method in METHODS.items() if method.with_deepspeed)
        message = f"several workers support the methods {supported}, got {untried[0]}"
        problems.add_if_unrelated(_place("method", space), message)
    small = [size for trial in trials if isinstance(size := trial["batch_size"], int) and size < workers]
    if small:
        message = f"each of the {workers} workers needs a row of every micro-batch, got {small[0]} rows"
        problems.add_if_unrelated(_place("batch_size", space), message)


def _place(name: str, space: Space) -> KeyPath:
    """Return the key path of a setting: in the space if it is searched, else in its own section."""
    return ("search", "space", name) if space.has(name) else RULES[name].path
