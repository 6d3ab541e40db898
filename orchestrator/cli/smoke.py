"""Settings of ``sweep --smoke``: a sweep file's whole path on few rows, to see whether it runs."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.spec.sweep_spec import SweepSpec

_ROWS = {"train": 32, "validation": 16, "test": 16, "train_eval": 8, "shift_rows": 16}
_FUNCTION_SHARE = 10
_TRIALS = _REPORTS = 2


def smoke_overrides(spec: "SweepSpec") -> list[str]:
    """Return the overrides for two short trials; the sweep gets a name of its own.

    A function chooses its rows itself, so its trials get a tenth of their samples.
    """
    few = [f"name={spec.name}-smoke", f"budget={{trials: {_TRIALS}}}", "confirm=none", "learning_curve=null"]
    few += [f"early_stopping={{rule: {spec.stopping.rule}, reports: {_REPORTS}}}", "tracking.keep_adapters=1"]
    if spec.function is not None:
        return [*few, f"function.samples={max(_REPORTS, spec.function.samples // _FUNCTION_SHARE)}"]
    few += [f"data.{name}={min(rows, getattr(spec.data, name) or rows)}" for name, rows in _ROWS.items()]
    return few if spec.space.has("epochs") else [*few, "training.epochs=1"]
