"""The points of a finite space."""

from orchestrator.core.grid import all_points, endless
from tests.search.worlds import GRID, SPACE


def test_conditional_space_lists_its_points() -> None:
    points = all_points(GRID)
    assert points is not None
    assert points[:4] == (
        {"dropout": 0.0, "init": "default", "rank": 4},
        {"dropout": 0.0, "init": "default", "rank": 8},
        {"dropout": 0.0, "init": "gaussian"},
        {"dropout": 0.1, "init": "default", "rank": 4},
    )
    assert len(points) == 12
    assert [point["dropout"] for point in points[::3]] == [0.0, 0.1, 0.2, 0.3]
    assert all_points(SPACE) is None
    assert endless(SPACE) == ("learning_rate", "lora_plus_ratio")
