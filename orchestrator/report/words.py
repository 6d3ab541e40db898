"""Numbers, durations and parameters as short text, for screen, page and charts."""

import math
import time
from collections.abc import Iterable, Mapping

from orchestrator.core.space import ParamValue, format_value
from orchestrator.evaluation.scores.score_intervals import MetricInterval

MISSING = "–"


def number(value: float | None, digits: int = 4) -> str:
    """Return ``value`` with ``digits`` decimals; a dash for None, else ``nan`` or ``inf``."""
    if value is None:
        return MISSING
    return f"{value:.{digits}f}" if math.isfinite(value) else str(value)


def interval(value: MetricInterval | None, digits: int = 4) -> str:
    """Return the limits of an interval in brackets, ``[0.8190, 0.8571]``; an empty text for None."""
    return "" if value is None else f"[{number(value.low, digits)}, {number(value.high, digits)}]"


def with_interval(value: float | None, limits: MetricInterval | None, digits: int = 4) -> str:
    """Return a number followed by its interval, if it has one."""
    return f"{number(value, digits)} {interval(limits, digits)}".rstrip()


def signed(value: float | None, digits: int = 4) -> str:
    """Return ``value`` with its sign."""
    return number(value, digits) if value is None or not math.isfinite(value) else f"{value:+.{digits}f}"


def count(value: int | None) -> str:
    """Return an integer with thousands separators; a dash for None."""
    return MISSING if value is None else f"{value:,}"


def percent(share: float) -> str:
    """Return a fraction in [0, 1] as whole per cent."""
    return f"{100 * share:.0f} %"


def param(value: ParamValue) -> str:
    """Return a parameter's value as YAML writes it, floats with three significant digits (``2.4e-4``)."""
    if isinstance(value, float) and 0 < abs(value) < 1e-2:
        digits, _, exponent = f"{value:.2e}".partition("e")
        return f"{float(digits):g}e{int(exponent)}"
    return format_value(value, digits=3)


def param_cell(params: Mapping[str, ParamValue], name: str) -> str:
    """Return one parameter of a configuration; a dash if the configuration does not have it."""
    return param(params[name]) if name in params else MISSING


def params(values: Mapping[str, ParamValue], names: Iterable[str]) -> str:
    """Return ``name=value`` pairs, without names missing in ``values``."""
    return "  ".join(f"{name}={param(values[name])}" for name in names if name in values)


def duration(seconds: float) -> str:
    """Return ``48 s``, ``3 min 20 s`` or ``2 h 05 min``."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def moment(seconds: float) -> str:
    """Return a time since the epoch as local date and time."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


def size(num_bytes: float) -> str:
    """Return bytes in B, kB, MB, GB or TB (powers of 1000)."""
    for unit in ("B", "kB", "MB", "GB"):
        if num_bytes < 1000:
            return f"{num_bytes:.0f} {unit}" if unit == "B" else f"{num_bytes:.1f} {unit}"
        num_bytes /= 1000
    return f"{num_bytes:.1f} TB"


def short(metric: str) -> str:
    """Return a metric's name for table heads: ``val accuracy``, ``test accuracy``, ``tweets accuracy``."""
    return metric.removeprefix("shift/").replace("/", " ").replace("_", " ")
