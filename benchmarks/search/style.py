"""Style of the pictures: a theme for matplotlib with colour-blind safe colours (Okabe and Ito)."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CYCLE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9")
MUTED = "#9a9a9a"


@contextmanager
def theme() -> Iterator[None]:
    """Use the theme during the block, then restore the global style."""
    import matplotlib as mpl
    from cycler import cycler

    ink, line = "#222222", "#dddddd"
    settings: dict[Any, Any] = {
        "axes.edgecolor": line,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.labelcolor": ink,
        "axes.prop_cycle": cycler(color=CYCLE),
        "axes.spines.right": False,
        "axes.spines.top": False,
        "axes.titlelocation": "left",
        "axes.titlesize": "large",
        "axes.titleweight": "bold",
        "figure.constrained_layout.use": True,
        "figure.constrained_layout.h_pad": 0.1,
        "figure.constrained_layout.w_pad": 0.1,
        "figure.dpi": 100,
        "font.size": 10,
        "grid.color": line,
        "grid.linewidth": 0.6,
        "legend.frameon": False,
        "savefig.dpi": 150,
        "text.color": ink,
        "xtick.color": ink,
        "ytick.color": ink,
    }
    with mpl.rc_context(settings):
        yield


def figure(width: float = 8.0, height: float = 4.0) -> "Figure":
    """Return an empty figure without a window. Sizes are in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height))
