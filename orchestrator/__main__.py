"""The command ``loratory``, and ``python -m orchestrator``."""

import sys

from orchestrator.core.system.environment import set_environment_defaults


def main() -> None:
    """Run one command and exit with its code: 0 done, 1 failed, 2 the user's mistake."""
    set_environment_defaults()  # before imports that read the environment
    from orchestrator.cli.app import run

    sys.exit(run())


if __name__ == "__main__":
    main()
