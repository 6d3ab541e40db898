"""Loratory: hyperparameter search and experiment orchestration for fine-tuning."""

from typing import TYPE_CHECKING

from orchestrator.version import __version__

if TYPE_CHECKING:
    from orchestrator.api import Sweep, Trial, load_sweep, open_sweep, run_sweep
else:

    def __getattr__(name: str) -> object:
        """Import the Python API at its first use, to keep the import of the package fast."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from orchestrator import api

        return getattr(api, name)


__all__ = ["Sweep", "Trial", "__version__", "load_sweep", "open_sweep", "run_sweep"]
