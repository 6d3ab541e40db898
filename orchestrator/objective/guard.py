"""Adds file and line to errors raised by a user's objective, in every process."""

import functools
import traceback
from collections.abc import Callable, Collection
from types import FunctionType

from orchestrator.core.errors import LoratoryError, ObjectiveError, in_short, memory_ran_out

_OURS = ("orchestrator", "objectives")


def guard(objective: object, hooks: Collection[str]) -> None:
    """Wrap the hooks defined by a user's classes: their errors are raised as ``ObjectiveError``.

    Methods overriding our base classes, such as ``read``, are wrapped too. Our own errors and out-of-memory errors
    pass unchanged, because engines handle them.
    """
    ours = [cls for cls in type(objective).__mro__ if cls is object or cls.__module__.partition(".")[0] in _OURS]
    names = {*hooks, *(name for cls in ours for name in vars(cls) if not name.startswith("__"))}
    for cls in type(objective).__mro__:
        if cls in ours:
            continue
        for name in names:
            own = vars(cls).get(name)
            if isinstance(own, FunctionType) and not hasattr(own, "guarded"):
                setattr(cls, name, _guarded(own))


def _guarded(hook: FunctionType) -> Callable[..., object]:
    @functools.wraps(hook)
    def call(*args: object, **kwargs: object) -> object:
        try:
            return hook(*args, **kwargs)
        except LoratoryError:
            raise
        except (Exception, SystemExit) as error:
            if memory_ran_out(error):
                raise
            place = line_in(error, hook.__code__.co_filename)
            raise ObjectiveError(f"objective {place}: {hook.__name__} raised {in_short(error)}") from error

    vars(call)["guarded"] = True
    return call


def line_in(error: BaseException, file: str) -> str:
    """Return ``file:line`` for the innermost line of ``file`` in the traceback, or ``file`` if there is none."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    line = error.lineno if isinstance(error, SyntaxError) else (lines[-1] if lines else None)
    return f"{file}:{line}" if line else file
