"""One memory arena serves all threads of an engine's process; the peak is measured."""

import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.training.process.memory import peak_mb, reset_peak

READING = """
import ctypes, sys, threading
from pathlib import Path
from orchestrator.training.context import EngineContext
from tests.fakes.tiny_models import tiny_bert
from tests.fakes.tiny_objective import TinyClassification
from tests.training.packed.packs import World

libc = ctypes.CDLL("libc.so.6")
libc.fopen.restype = ctypes.c_void_p
libc.malloc_info.argtypes, libc.fclose.argtypes = [ctypes.c_int, ctypes.c_void_p], [ctypes.c_void_p]
folder = Path(sys.argv[1])

def arenas():
    file = libc.fopen(bytes(folder / "malloc.xml"), b"w")
    libc.malloc_info(0, file)
    libc.fclose(file)
    return (folder / "malloc.xml").read_text().count("<heap nr")

class ReadsInThreads(TinyClassification):
    def splits(self, plan):
        before, wait = arenas(), threading.Barrier(5)
        threads = [threading.Thread(target=lambda: (bytearray(1000), wait.wait())) for _ in range(4)]
        for thread in threads:
            thread.start()
        wait.wait()
        for thread in threads:
            thread.join()
        print("new arenas:", arenas() - before)
        return super().splits(plan)

world = World(tiny_bert(folder / "model"), TinyClassification(), folder / "sweep", packed=False)
EngineContext(world.plan, ReadsInThreads())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="arenas are glibc's")
def test_threads_reading_rows_get_no_arenas(tmp_path: Path) -> None:
    found = subprocess.run([sys.executable, "-c", READING, str(tmp_path)], capture_output=True, text=True, check=False)
    assert "new arenas: 0" in found.stdout.splitlines(), found.stderr


def test_peak_memory_is_measured_anew_after_reset() -> None:
    large = bytearray(b"x") * (200 * 2**20)
    with_large = peak_mb("cpu")
    del large
    reset_peak("cpu")
    assert 10 < peak_mb("cpu") < with_large - 100
