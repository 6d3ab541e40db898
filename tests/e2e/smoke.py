"""Runs every shipped sweep file with ``sweep --smoke``, in stores of its own: ``python -m tests.e2e.smoke [FILE …]``.

A tiny random model of the same family takes the place of a shipped file's base model of the Hugging Face hub. Files
that need a package which is not installed are left out and named.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from orchestrator.assets.cache import quiet_hugging_face
from orchestrator.core.data import Origin
from orchestrator.stores import read_spec
from tests.fakes.tiny_models import tiny_gpt2, tiny_roberta, tiny_t5
from tests.needs import is_installed

ROOT = Path(__file__).parents[2]
SHIPPED = sorted((*(ROOT / "sweeps").glob("*.yaml"), *(ROOT / "docs/examples").glob("*.yaml")))
EXTRAS: Mapping[str, tuple[str, str]] = {
    "qlora": ("qlora", "bitsandbytes"),
    "deepspeed": ("deepspeed", "deepspeed"),
    "keras_function": ("tensorflow", "tensorflow"),
}
"""The extra and its package, for the files that need one."""
STAND_INS: Mapping[str, Callable[[Path], Path]] = {
    "google-t5/t5-small": tiny_t5,
    "FacebookAI/roberta-base": tiny_roberta,
    "openai-community/gpt2": tiny_gpt2,
}
"""Writes a tiny model of the family, by the model's id on the hub."""
_AT_ONCE = 2
"""Files at a time: the start of a sweep, which is most of its time here, uses one core."""
_LIMIT_S = 900
_SHOWN_LINES = 30


def main(arguments: list[str]) -> int:
    """Run the files, all shipped ones by default; print each result with its time. Return the number of failures."""
    quiet_hugging_face()
    files = [Path(name).absolute() for name in arguments] or SHIPPED
    ready = [file for file in files if is_installed(EXTRAS.get(file.stem, ("", "yaml"))[1])]
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="loratory-smoke-") as folder:
        options = [[*overrides(file, Path(folder))] for file in ready]
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            failed = sum(pool.map(partial(_run, stores=Path(folder)), ready, options))
    left_out = [file for file in files if file not in ready]
    for file in left_out:
        extra, package = EXTRAS[file.stem]
        _say(f"{os.path.relpath(file)}: left out, {package} is not installed; include it by EXTRAS={extra}")
    minutes = (time.monotonic() - began) / 60
    _say(f"{len(ready)} files, {failed} failed, {len(left_out)} left out: {minutes:.1f} min, {_AT_ONCE} at a time")
    return failed


def _say(*lines: str) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


def _run(file: Path, options: Sequence[str], stores: Path) -> bool:
    """Run one file, print its result, and return whether it failed."""
    command = [sys.executable, "-m", "orchestrator", "sweep", str(file), "--smoke", *options]
    own = {"LORATORY_HOME": str(stores / "home"), "LORATORY_MLFLOW_DIR": str(stores / "mlflow")}
    began = time.monotonic()
    log = stores / f"{file.stem}.log"
    with log.open("w") as out:
        try:
            state = subprocess.run(
                command, env=os.environ | own, stdout=out, stderr=out, timeout=_LIMIT_S, check=False
            ).returncode
        except subprocess.TimeoutExpired:
            state = None
    result = "ok" if state == 0 else "FAILED" if state is not None else f"FAILED, still running after {_LIMIT_S} s"
    shown = [] if state == 0 else log.read_text(errors="replace").splitlines()[-_SHOWN_LINES:]
    _say(f"{os.path.relpath(file)}: {result}, {time.monotonic() - began:.0f} s", *shown)
    return state != 0


def overrides(file: Path, stores: Path) -> Iterator[str]:
    """Yield the options for a tiny model in place of a shipped file's hub model; it is written once.

    Other files, also those with another hub model, get none.
    """
    model = read_spec(file).model
    if model.origin is Origin.HUB and model.name in STAND_INS:
        folder = stores / "models" / model.name
        if not folder.exists():
            STAND_INS[model.name](folder)
        yield from ("--set", f"model={folder}")


if __name__ == "__main__":
    sys.exit(min(1, main(sys.argv[1:])))
