"""Recognition of disk faults in errors."""

import errno
import os
import shutil
from pathlib import Path

import pytest

from orchestrator.core.errors import SuspendedError
from orchestrator.core.system.disk import disk_fault, suspending

FULL = os.strerror(errno.ENOSPC)


@pytest.mark.parametrize(
    ("error", "meaning"),
    [
        (OSError(errno.ENOSPC, FULL), FULL),
        (OSError(errno.EDQUOT, "x"), os.strerror(errno.EDQUOT)),
        (OSError(errno.EROFS, "x"), os.strerror(errno.EROFS)),
        (OSError(errno.EIO, "x"), os.strerror(errno.EIO)),
        (shutil.Error([("a", "b", f"[Errno 28] {FULL}: 'a' -> 'b'")]), FULL),
        (ValueError(f"Error while serializing: I/O error: {FULL} (os error 28)"), FULL),
        (RuntimeError(f"write(): fd 3 failed with {FULL}"), FULL),
        (RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534"), "written to its end"),
        (RuntimeError("[enforce fail at inline_container.cc:145] . PytorchStreamReader failed reading"), None),
        (OSError(errno.ENOENT, "no such file"), None),
        (OSError(errno.EACCES, "denied"), None),
        (RuntimeError("row 28 is out of range"), None),
    ],
)
def test_error_is_read_as_disk_fault(error: Exception, meaning: str | None) -> None:
    found = disk_fault(error)
    assert (found is None) if meaning is None else (found is not None and meaning in found)


def test_cause_of_an_error_counts_too() -> None:
    error = RuntimeError("saving failed")
    error.__cause__ = OSError(errno.ENOSPC, FULL)
    assert disk_fault(error) == FULL


def test_real_full_device_suspends(tmp_path: Path) -> None:
    refusal = pytest.raises(SuspendedError, match=f"{tmp_path} cannot be written: {FULL}")
    with refusal, suspending(tmp_path), Path("/dev/full").open("w") as stream:
        stream.write("x")


def test_other_errors_pass_unchanged(tmp_path: Path) -> None:
    with pytest.raises(KeyError), suspending(tmp_path):
        raise KeyError("x")


def test_first_suspension_is_reported(tmp_path: Path) -> None:
    def suspended() -> None:
        try:
            raise SuspendedError("first")
        finally:
            with suspending(tmp_path):
                raise OSError(errno.ENOSPC, FULL)

    with pytest.raises(SuspendedError, match="first"):
        suspended()
