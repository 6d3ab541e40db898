"""Pairwise covering of the search space."""

from itertools import combinations

from orchestrator.core.space import Choices, FloatRange, IntRange, Parameter, ParamValue, Space
from orchestrator.spec.covering import covering

NAMES = ("method", "target_modules", "init", "dora", "dropout", "rank")


def choices(name: str, *values: ParamValue, **when: tuple[ParamValue, ...]) -> Parameter:
    return Parameter(name=name, distribution=Choices(choices=values), when=when)


SPACE = Space(
    parameters=(
        choices("method", "lora", "ia3", "lokr"),
        choices("target_modules", "all-linear", "query", "key"),
        choices("init", "default", "pissa", method=("lora",)),
        choices("dora", False, True, init=("default",)),
        Parameter(name="dropout", distribution=FloatRange(low=0.0, high=0.3), when={"method": ("lora",)}),
        Parameter(name="rank", distribution=IntRange(low=4, high=64), when={"method": ("lora", "lokr")}),
        Parameter(name="learning_rate", distribution=FloatRange(low=1e-4, high=1e-2)),
    )
)


def pairs(trial: dict[str, ParamValue]) -> set[tuple[tuple[str, ParamValue], tuple[str, ParamValue]]]:
    return {*combinations(sorted(trial.items(), key=lambda item: item[0]), 2)}


def test_every_possible_pair_is_covered() -> None:
    trials = covering(SPACE, {}, NAMES)
    covered = set().union(*map(pairs, trials))
    coarse: dict[str, set[ParamValue]] = {"dropout": {0.0, 0.3}, "rank": {4, 5, 64}}
    for first, second in combinations(NAMES, 2):
        for chosen in SPACE.combinations({first, second}):
            if len(chosen) == 2 and all(value in coarse.get(name, {value}) for name, value in chosen.items()):
                assert pairs(chosen) <= covered, chosen
    assert len(trials) < 25
    assert all(trial["init"] != "pissa" or (trial["method"] == "lora" and not trial["dora"]) for trial in trials)
    assert all(set(trial) == {*NAMES} for trial in trials)


def test_value_without_a_possible_pair_is_covered() -> None:
    """Only ``lora`` has a pair with ``dora``."""
    space = Space(parameters=(choices("method", "lora", "oft", "ia3"), choices("dora", False, True, method=("lora",))))
    assert {trial["method"] for trial in covering(space, {}, NAMES)} == {"lora", "oft", "ia3"}


def test_large_space_needs_few_trials() -> None:
    wide = Space(parameters=tuple(choices(name, *range(1, 1000)) for name in ("rank", "dropout")))
    assert len(covering(wide, {}, NAMES)) <= 8


def test_no_searched_setting_gives_one_trial() -> None:
    [trial] = covering(Space(parameters=(choices("batch_size", 8, 16),)), {"dropout": 0.1}, NAMES)
    assert trial == {
        "method": "lora",
        "target_modules": "all-linear",
        "init": "default",
        "dora": False,
        "dropout": 0.1,
        "rank": 16,
    }
