"""Moves of aliases: their history, kills at every write, and two processes at once."""

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from orchestrator.core.errors import TrackingError, UserError
from orchestrator.tracking.location import Location, connect
from orchestrator.tracking.logged_models.models import download_model
from orchestrator.tracking.registered.alias_history import AliasMove, alias_history, alias_names, move_tag, stored_moves
from orchestrator.tracking.registered.registry import ModelReference, Registry
from orchestrator.tracking.runs.provenance import user
from orchestrator.tracking.runs.synchroniser import Synchroniser
from tests.conftest import copied
from tests.tracking.records import description
from tests.tracking.trained import trained_sweep

if TYPE_CHECKING:
    from mlflow import MlflowClient

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def store(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Location:
    return copied(empty_store, tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def models(store: Location, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Return the ids of two logged models."""
    trained = trained_sweep(tmp_path_factory.mktemp("trained"))
    Synchroniser(trained.store.ledger, trained.store.id, description(), store, trained.adapters).run()
    found = [item.model_id for item in connect(store).search_logged_models([trained.store.experiment_id])]
    assert len(found) == 2
    return found


@pytest.fixture(scope="module")
def faults(store: Location, models: list[str], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return the results of ``registry_faults``, in a process of its own: it forks."""
    folder = tmp_path_factory.mktemp("faults")
    command = [sys.executable, "-m", "tests.tracking.registry_faults", store.tracking_uri, str(folder), *models]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_killed_promotion_leaves_whole_champion(faults: Any) -> None:
    *killed, last = faults["kills"]
    assert len(killed) >= 5, "version, history, previous, champion, mark"
    assert {item["status"] for item in killed} == {9}
    assert last["status"] == 0
    assert [item["after"]["champion"] for item in killed] == [1] * (len(killed) - 1) + [2]
    for item in killed:
        after, again = item["after"], item["again"]
        assert after["whole"]
        assert after["history"] in ([[None, 1, True]], [[None, 1, True], [1, 2, after["champion"] == 2]])
        assert again["aliases"] == {"champion": 2, "previous": 1}
        assert again["versions"] == 2
        assert [move for move in again["history"] if move[2]] == [[None, 1, True], [1, 2, True]]


def test_two_promotions_leave_one_champion(faults: Any) -> None:
    (message,) = [text for text in faults["messages"] if text]
    state = faults["state"]
    assert state["versions"] == 2
    assert state["aliases"] == {"champion": state["champion"]}
    assert state["history"] == [[None, state["champion"], True]]
    assert message == (
        f"raced@champion moved from no version to raced/{state['champion']} by {user()} while this command ran, so it "
        f"did not get raced/{3 - state['champion']}, which stays registered. Run the command again to compare with the "
        "new holder"
    )


def test_history_names_person_reason_and_origin(store: Location, models: list[str]) -> None:
    registry = Registry(store)
    first = registry.register("told", models[0], {"sweep": "films#1", "trial": "2", "why": "https://u:pw@h"}, "pwd=pw")
    second = registry.register("told", models[1], {"sweep": "films#1", "trial": "0"})
    assert (first.tags["why"], first.description) == ("https://u:***@h", "pwd=***")
    registry.set_alias(first, "champion", seen=None, reason="passed 3 gates of https://u:pw@h")
    registry.set_alias(second, "champion", seen=first)
    assert registry.set_alias(second, "champion", seen=first) is None  # another process did the same
    registry.set_alias(second, "challenger")
    registry.move_back("told", "champion", reason="too slow")
    moves = registry.history("told", "champion")
    assert [(move.previous, move.version, move.action, move.reason) for move in moves] == [
        (None, 1, "promote", "passed 3 gates of https://u:***@h"),
        (1, 2, "promote", ""),
        (2, 1, "rollback", "too slow"),
    ]
    assert {move.by for move in moves} == {user()}
    assert moves[0].origin == "trial 2 of films#1"
    assert all(move.at for move in moves)
    assert registry.get(ModelReference.parse("told@previous")).version == 2
    assert registry.aliases_with_history("told") == ("challenger", "champion")
    left, now = registry.move_back("told", "champion")
    assert (left.version, now.version) == (1, 2)
    assert registry.move_back("told", "champion", to=1)[1].version == 1
    with pytest.raises(UserError, match="told/1 has the alias champion already"):
        registry.move_back("told", "champion", to=1)


def test_alias_refuses_damaged_model(store: Location, models: list[str]) -> None:
    registry = Registry(store)
    version = registry.register("damaged", models[1], {})
    weights = download_model(connect(store), models[1], store.tracking_uri) / "adapter_model.safetensors"
    content = weights.read_bytes()
    weights.unlink()
    try:
        with pytest.raises(TrackingError, match=r"damaged/1 cannot be loaded.*adapter_model.safetensors is missing"):
            registry.set_alias(version, "champion")
        assert registry.holder("damaged", "champion") is None
    finally:
        weights.write_bytes(content)
    client = connect(store)
    unfinished = client.create_logged_model(client.get_logged_model(models[0]).experiment_id)
    with pytest.raises(TrackingError, match=f"its logged model {unfinished.model_id} is incomplete"):
        registry.register("damaged", unfinished.model_id, {})
    assert len(registry.versions("damaged")) == 1
    client.delete_logged_model(unfinished.model_id)
    with pytest.raises(TrackingError, match="its logged model m-0 does not exist"):
        registry.register("damaged", "m-0", {})


class OtherMachine:
    """A client of a real store. Another machine moves the alias before its first tag."""

    def __init__(self, location: Location, name: str, version: str) -> None:
        self._client, self._name, self._version = connect(location), name, version

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def set_registered_model_tag(self, *arguments: str) -> None:
        self._client.set_registered_model_tag(*arguments)
        self._client.set_registered_model_alias(self._name, "champion", self._version)


def test_move_of_other_machine_is_noticed(store: Location, models: list[str]) -> None:
    first, second = (Registry(store).register("far", model_id, {}) for model_id in models)
    Registry(store).set_alias(first, "champion")
    connect(store).create_model_version("far", "s3://third")
    registry = Registry(store, cast("MlflowClient", OtherMachine(store, "far", "3")))
    with pytest.raises(TrackingError, match="far@champion moved from far/1 to far/3 while this command ran"):
        registry.set_alias(second, "champion", seen=first)
    assert registry.get(ModelReference.parse("far@champion")).version == 3
    assert [move.version for move in registry.history("far", "champion") if move.done][-1] == 3


def test_moves_with_one_number_are_both_kept() -> None:
    moves = [
        AliasMove(version=version, previous=1, action="promote", by="anna", at=9.0 + version) for version in (2, 3)
    ]
    tags = dict(move_tag("champion", 2, move) for move in moves)
    assert stored_moves(tags, "champion") == [(2, moves[0]), (2, moves[1])]
    early = {key.removeprefix("mlflow."): value for key, value in dict([move_tag("champion", 1, moves[0])]).items()}
    assert stored_moves({**tags, **early}, "champion") == [(1, moves[0]), (2, moves[0]), (2, moves[1])]


def test_old_version_tag_names_previous_holder(store: Location, models: list[str]) -> None:
    client, registry = connect(store), Registry(store)
    for model_id in models[:2]:
        registry.register("old", model_id, {})
    client.set_model_version_tag("old", "2", "loratory.previous.champion", "1")
    client.set_registered_model_alias("old", "champion", "2")
    assert registry.history("old", "champion") == ()
    assert registry.move_back("old", "champion")[1].version == 1


def stored(*moves: tuple[int | None, int, bool]) -> dict[str, str]:
    return dict(
        move_tag("champion", number, AliasMove(version=to, previous=before, action="promote", done=done))
        for number, (before, to, done) in enumerate(moves, start=1)
    )


@pytest.mark.parametrize(
    ("moves", "holder", "expected"),
    [
        ([], 3, []),
        ([(None, 1, True)], 1, [(None, 1, "promote", True)]),
        ([(None, 1, True), (1, 2, False)], 1, [(None, 1, "promote", True), (1, 2, "promote", False)]),
        ([(None, 1, True), (1, 2, False)], 2, [(None, 1, "promote", True), (1, 2, "promote", True)]),
        ([(None, 1, True)], None, [(None, 1, "promote", True), (1, None, "outside", True)]),
        (
            [(None, 1, True), (5, 2, True)],
            2,
            [(None, 1, "promote", True), (1, 5, "outside", True), (5, 2, "promote", True)],
        ),
        (
            [(None, 1, True), (1, 2, False), (1, 3, True)],
            4,
            [
                (None, 1, "promote", True),
                (1, 2, "promote", False),
                (1, 3, "promote", True),
                (3, 4, "outside", True),
            ],
        ),
    ],
)
def test_history_marks_killed_and_outside_moves(
    moves: list[tuple[int | None, int, bool]], holder: int | None, expected: list[tuple[object, ...]]
) -> None:
    tags = stored(*moves) | {"loratory.alias.other.0001-abc": "{}", "team": "films"}
    history = alias_history(tags, "champion", holder)
    assert [(move.previous, move.version, move.action, move.done) for move in history] == expected
    assert set(alias_names(tags)) == {"other", *(["champion"] if moves else [])}
