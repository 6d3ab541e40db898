"""Other users of the machine and of the network cannot see or reach a local Ray."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SECRET = "value-of-the-secret-key"
PROGRAM = """
import json, os, stat, sys
from pathlib import Path

import psutil
import ray

from orchestrator.cluster.placement import Placement
from orchestrator.cluster.ray_session import ray_session
from ray import tune
from ray.tune.execution.class_cache import _ActorClassCache

class Trial(tune.Trainable):
    def step(self):
        return {"done": True}

@ray.remote
def secret():
    return os.environ.get("AWS_SECRET_ACCESS_KEY")

sweep_dir = Path(sys.argv[1])
with ray_session(sweep_dir, Placement(trials=1, trial={"CPU": 1}), sweep_dir / "ray.log") as storage:
    inherited = ray.get(secret.remote())
    actor = _ActorClassCache().get(Trial)
    family = [psutil.Process(), *psutil.Process().children(recursive=True)]
    print(json.dumps({
        "listening": [c.laddr.ip for p in family for c in p.net_connections("inet") if c.status == psutil.CONN_LISTEN],
        "commands": [" ".join(process.cmdline()) for process in family],
        "options": repr(actor._default_options),
        "inherited": inherited,
        "closed": stat.S_IMODE(storage.parent.stat().st_mode),
        "folder": str(storage.parent),
    }))
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def seen(home: Path) -> dict[str, Any]:
    """Return the view of a process on its local Ray, under the widest umask and a long TMPDIR."""
    temporary = home / "temporary"
    temporary.mkdir()
    folder = home / "sweep"
    folder.mkdir()
    variables = {"HOME": str(home), "AWS_SECRET_ACCESS_KEY": SECRET, "TMPDIR": str(temporary)}
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH")}
    command = [sys.executable, "-c", PROGRAM, str(folder)]
    done = subprocess.run(
        command, env=kept | variables, stdout=subprocess.PIPE, text=True, check=True, umask=0, timeout=300
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_ray_listens_on_loopback_only(seen: dict[str, Any]) -> None:
    assert len(seen["listening"]) >= 5
    assert {address.removeprefix("::ffff:") for address in seen["listening"]} == {"127.0.0.1"}


def test_ray_folder_is_private(seen: dict[str, Any]) -> None:
    assert seen["closed"] == 0o700
    assert any(f"{seen['folder']}/r/session_" in command for command in seen["commands"])


def test_ray_token_is_private(seen: dict[str, Any], home: Path) -> None:
    assert seen
    assert stat.S_IMODE((home / ".ray/auth_token").stat().st_mode) == 0o600


def test_readable_token_becomes_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from orchestrator.cluster.ray_privacy import make_token_private

    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / ".ray").mkdir()
    token = tmp_path / ".ray/auth_token"
    token.write_text("mine")
    token.chmod(0o644)
    make_token_private()
    assert (token.read_text(), stat.S_IMODE(token.stat().st_mode)) == ("mine", 0o600)


def test_secrets_are_inherited_not_written_in_commands(seen: dict[str, Any]) -> None:
    assert seen["inherited"] == SECRET
    assert SECRET not in seen["options"]
    assert not [command for command in seen["commands"] if SECRET in command]


def test_tune_gives_actors_their_own_runtime_environment(seen: dict[str, Any]) -> None:
    assert "runtime_env" in seen["options"]
