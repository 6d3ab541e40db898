"""Contract suites for code of your own: subclass one in a test file, give its fixtures, and run pytest.

pytest is imported here and nowhere else in the package; ``pip install loratory[testing]`` brings it.
"""

import pytest

# Before the import, so that a failed assertion in a suite shows its values.
pytest.register_assert_rewrite(
    "orchestrator.testing.function_contract",
    "orchestrator.testing.objective_contract",
    "orchestrator.testing.observer_contract",
)

from orchestrator.testing.function_contract import FunctionContract  # noqa: E402  (the lines above come first)
from orchestrator.testing.objective_contract import ObjectiveContract  # noqa: E402
from orchestrator.testing.observer_contract import ObserverContract  # noqa: E402

__all__ = ["FunctionContract", "ObjectiveContract", "ObserverContract"]
