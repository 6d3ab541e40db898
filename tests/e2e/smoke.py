"""Runs every shipped sweep file with ``sweep --smoke``, in stores of its own: ``python -m tests.e2e.smoke [FILE …]``.

A tiny random model of the same family takes the place of a base model of the Hugging Face hub. Files that need a
package which is not installed are left out and named.
"""

import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from orchestrator.assets.cache import quiet_hugging_face
from orchestrator.core.data import Origin
from orchestrator.stores import read_spec
from tests.fakes.tiny_models import tiny_gpt2, tiny_roberta, tiny_t5

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
_LIMIT_S = 900
_SHOWN_LINES = 30


def main(arguments: list[str]) -> int:
    """Run the files, all shipped ones by default; print each result with its time. Return the number of failures."""
    quiet_hugging_face()
    files = [Path(name).absolute() for name in arguments] or SHIPPED
    began, failed = time.monotonic(), 0
    left_out = []
    with tempfile.TemporaryDirectory(prefix="loratory-smoke-") as folder:
        for file in files:
            name = os.path.relpath(file)
            extra, package = EXTRAS.get(file.stem, ("", "sys"))
            if importlib.util.find_spec(package) is None:
                left_out.append(f"{name}: left out, {package} is not installed; include it by EXTRAS={extra}")
                continue
            started = time.monotonic()
            output = _run(file, Path(folder))
            failed += output is not None
            state = "ok" if output is None else "FAILED"
            _say(f"{name}: {state}, {time.monotonic() - started:.0f} s")
            if output is not None:
                _say(*output.splitlines()[-_SHOWN_LINES:])
    ran, minutes = len(files) - len(left_out), (time.monotonic() - began) / 60
    _say(*left_out, f"{ran} files, {failed} failed, {len(left_out)} left out: {minutes:.1f} min")
    return failed


def _say(*lines: str) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


def _run(file: Path, stores: Path) -> str | None:
    """Run one file; return None if its sweep ended well, otherwise its output."""
    command = [sys.executable, "-m", "orchestrator", "sweep", str(file), "--smoke", *overrides(file, stores)]
    own = {"LORATORY_HOME": str(stores / "home"), "LORATORY_MLFLOW_DIR": str(stores / "mlflow")}
    try:
        done = subprocess.run(
            command,
            env=os.environ | own,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        return f"{error.output or ''}\nstill running after {_LIMIT_S} s"
    return None if done.returncode == 0 else done.stdout


def overrides(file: Path, stores: Path) -> Iterator[str]:
    """Yield the options for a tiny model in place of the hub's; none for other files. The model is written once."""
    model = read_spec(file).model
    if model.origin is Origin.HUB:
        folder = stores / "models" / model.name
        if not folder.exists():
            STAND_INS[model.name](folder)
        yield from ("--set", f"model={folder}")


if __name__ == "__main__":
    sys.exit(min(1, main(sys.argv[1:])))
