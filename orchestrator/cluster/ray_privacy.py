"""Protects a local Ray, and the secrets of its user, from other users of the machine."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ray._private import ray_constants
from ray._private.authentication.authentication_token_generator import generate_new_authentication_token
from ray.tune.execution import class_cache


@contextmanager
def loopback_only() -> Iterator[None]:
    """Let a Ray started in the context listen on 127.0.0.1 only.

    If Ray may join a cluster, it replaces 127.0.0.1 by the machine's address. It decides this at its import by
    ``RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER``; its processes read the variable too.
    """
    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


def keep_secrets_out_of_commands() -> None:
    """Stop Tune from passing AWS secrets in the command lines of trials' processes, which every user can read.

    Processes of a local Ray inherit the secrets; the nodes of a cluster have their own.
    """
    class_cache.ENV_VARS_TO_PROPAGATE -= {name for name in class_cache.ENV_VARS_TO_PROPAGATE if "AWS" in name}


def make_token_private() -> None:
    """Make the file with Ray's token readable to its owner only, and create it if it is missing.

    The token allows running code as this user, and Ray creates the file readable to all. If the environment sets the
    token, its path or another authentication mode, nothing is created.
    """
    named = os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH")
    if named or os.environ.get("RAY_AUTH_MODE", "token").lower() != "token":
        return
    path = Path.home() / ".ray" / "auth_token"
    with suppress(OSError):  # Ray itself reports an unwritable home
        if not path.exists():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(generate_new_authentication_token())
        status = path.stat()
        if status.st_uid == os.getuid() and status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            path.chmod(0o600)
