"""The loss scale of a trial in float16 (Micikevicius et al., arXiv 1710.03740), with the rule of ``torch.amp``.

float16 has values from 6e-8 to 65,504. A small gradient becomes zero in it, so the loss is multiplied by a scale, and
the gradient is divided by it in float32. A gradient that overflows makes no update and halves the scale.
"""

from collections.abc import Mapping

from orchestrator.core.errors import DivergedError

FIRST = 2.0**8
"""The first scale. Our engines sum losses over rows or tokens, so this is torch's 2**16 for a mean over 256 of them."""
SMALLEST = 2.0**-10
"""A gradient that overflows below this scale means divergence; it is the scale 1 for a mean over 1,024 of them."""
_GROWS_AFTER = 2000
"""Updates without overflow after which the scale doubles, as in torch."""


class LossScale:
    """The loss scale of one trial.

    Attributes:
        factor: the factor of the loss.
        skipped: updates counted without an optimizer step.
    """

    def __init__(self) -> None:
        self.factor = FIRST
        self.skipped = 0
        self._made = 0

    def step_made(self) -> None:
        """Count an optimizer step; the scale doubles after many without overflow."""
        self._made += 1
        if self._made == _GROWS_AFTER:
            self.factor, self._made = 2.0 * self.factor, 0

    def skip(self) -> bool:
        """Count an update without an optimizer step, and halve the scale; return False below the smallest scale."""
        self.factor, self._made = 0.5 * self.factor, 0
        self.skipped += 1
        return self.factor >= SMALLEST

    def state(self) -> dict[str, float]:
        """Return the state for ``load``, as JSON."""
        return {"factor": self.factor, "made": self._made, "skipped": self.skipped}

    def load(self, state: Mapping[str, float]) -> None:
        """Continue from a stored state."""
        self.factor, self._made, self.skipped = state["factor"], int(state["made"]), int(state["skipped"])


def diverged(loss: float, norm: float, update: int, scale: LossScale | None) -> DivergedError:
    """Return the error of a trial with a loss or a gradient that is not finite.

    Args:
        loss: mean loss of the update.
        norm: norm of its gradient.
        update: number of the update, from 1.
        scale: the trial's loss scale; None outside float16.
    """
    remedy = "" if scale is None else " in float16; training.precision: float32 has a wider range"
    return DivergedError(f"training loss {loss:.4g} with gradient norm {norm:.4g} at update {update}{remedy}")
