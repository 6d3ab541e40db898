"""The command ``loratory``, and ``python -m orchestrator``."""

import sys

from orchestrator.core.environment import prepare


def main() -> None:
    """Run one command and exit with its code: 0 done, 1 failed, 2 the user's mistake."""
    prepare()  # before anything that reads the environment is imported
    from orchestrator.cli.app import run

    sys.exit(run())


if __name__ == "__main__":
    main()
