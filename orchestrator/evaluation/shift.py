"""Names of the metrics on shift sets."""

import math
from collections.abc import Mapping


def shift_metrics(by_set: Mapping[str, Mapping[str, float]], seconds: float) -> dict[str, float]:
    """Return ``shift/<set>/<metric>`` for each set, and ``time/shift_s``.

    NaN marks a metric without a value on these rows, as AUROC with one class: it is left out. The loss stays.

    Args:
        by_set: metrics by name, by shift set.
        seconds: duration of the measurement.
    """
    named = {
        f"shift/{name}/{metric}": value
        for name, metrics in by_set.items()
        for metric, value in metrics.items()
        if metric == "loss" or not math.isnan(value)
    }
    return {**named, "time/shift_s": seconds}
