"""What keeps a Ray of this machine, and the secrets of whoever runs it, from everybody else on the machine."""

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
    """Let a Ray that is started meanwhile listen on 127.0.0.1 alone.

    Ray replaces that address by the machine's own wherever it could join a cluster, which it decides when it is
    imported, by ``RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER``; its processes read that variable, too.
    """
    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


def keep_secrets_out_of_commands() -> None:
    """Stop Tune from handing AWS's secrets on in the command lines of trials' processes, which everybody can read.

    Processes of a Ray that we start inherit them; on a user's cluster the nodes have their own.
    """
    class_cache.ENV_VARS_TO_PROPAGATE -= {name for name in class_cache.ENV_VARS_TO_PROPAGATE if "AWS" in name}


def make_token_private() -> None:
    """Let nobody but its owner read the file with Ray's token, which is made if there is none.

    Whoever has the token can run code as this user. Ray makes the file readable to all. Where the environment says
    where the token is, or that there is none, nothing is made.
    """
    named = os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH")
    if named or os.environ.get("RAY_AUTH_MODE", "token").lower() != "token":
        return
    path = Path.home() / ".ray" / "auth_token"
    with suppress(OSError):  # Ray itself says what is wrong with a home that cannot be written to
        if not path.exists():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(generate_new_authentication_token())
        status = path.stat()
        if status.st_uid == os.getuid() and status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            path.chmod(0o600)
