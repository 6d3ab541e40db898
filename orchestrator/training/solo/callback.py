"""Trainer's callback: at report points it saves, then reports; at every step it ends if it is told to."""

from collections.abc import Callable, Collection

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments


class ReportPoints(TrainerCallback):
    """Has a checkpoint written after certain updates and calls back when it is there."""

    def __init__(self, updates: Collection[int], check: Callable[[int], None], report: Callable[[], None]) -> None:
        """Set up the callback.

        Args:
            updates: after which updates to report.
            check: called after every update with the number of updates made; raises if training should end.
            report: called when the checkpoint is written.
        """
        self._updates = updates
        self._check = check
        self._report = report

    def on_step_end(
        self,
        args: TrainingArguments,  # noqa: ARG002  (the signature is Trainer's)
        state: TrainerState,
        control: TrainerControl,
        **_: object,
    ) -> TrainerControl:
        """Ask for a checkpoint at a report point."""
        self._check(state.global_step)
        control.should_save = state.global_step in self._updates
        return control

    def on_save(self, *_: object, **__: object) -> None:
        """Report."""
        self._report()
