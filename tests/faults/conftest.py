"""The home and the commands of the command line's tests."""

from tests.cli.conftest import finished_sweep, home, invoke

__all__ = ("finished_sweep", "home", "invoke")
