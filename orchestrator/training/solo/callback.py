"""A callback of Trainer: saves and reports at report points, and can end training after any update."""

from collections.abc import Callable, Collection

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from typing_extensions import override


class ReportPoints(TrainerCallback):
    """Requests a checkpoint after certain updates, and reports when it is written."""

    def __init__(self, updates: Collection[int], check: Callable[[int], None], report: Callable[[], None]) -> None:
        """Set up the callback.

        Args:
            updates: numbers of the updates followed by a report.
            check: called after every update with the number of updates made; raises to end training.
            report: called when a checkpoint is written.
        """
        self._updates = updates
        self._check = check
        self._report = report

    @override
    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **_: object,
    ) -> TrainerControl:
        """Request a checkpoint at a report point."""
        self._check(state.global_step)
        control.should_save = state.global_step in self._updates
        return control

    def on_save(self, *_: object, **__: object) -> None:
        """Report the new checkpoint."""
        self._report()
