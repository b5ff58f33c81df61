"""Compiled loops: the same numbers wherever their machine code can be kept, or cannot."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numba.core import caching, config

from ecgscale.data.compiling import compiled, fma
from tests.paths import HOUSE


def _added(a: np.ndarray) -> float:
    return a.sum()


def _full(*_: object) -> None:
    raise OSError(28, "No space left on device")


def test_a_loop_is_compiled_where_nothing_can_be_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caching.CacheImpl, "_locator_classes", [])
    assert compiled("float64(float64[::1])")(_added)(np.ones(3)) == 3


def test_a_loop_is_compiled_where_the_disk_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caching.IndexDataCacheFile, "save", _full)
    assert compiled("float64(float64[::1])")(_added)(np.ones(4)) == 4


def test_a_loop_is_compiled_where_what_was_kept_is_damaged(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path))
    compiled("float64(float64[::1])")(_added)
    kept = list(tmp_path.rglob("*.nb?"))
    assert len(kept) == 2
    for file in kept:
        file.write_bytes(file.read_bytes()[:50])
    assert compiled("float64(float64[::1])")(_added)(np.ones(5)) == 5


@pytest.mark.slow
def test_processes_that_compile_at_once_agree(tmp_path: Path) -> None:
    """Two processes meet an empty cache; a third finds what they left."""
    code = (
        "import json, numpy as np; from ecgscale.data.gather import _gather, gathered; "
        "units = np.arange(24, dtype=np.int16).reshape(3, 2, 4); "
        "found = gathered(units, np.array([2, 0]), np.array([[1, 0], [0.5, -2]], np.float32)); "
        "print(json.dumps([found.tolist(), sum(_gather.stats.cache_hits.values())]))"
    )
    environment = {"NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(HOUSE)}

    def start() -> subprocess.Popen:
        return subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True)

    together = [start(), start()]
    first, second = (json.loads(process.communicate()[0]) for process in together)
    third = json.loads(start().communicate()[0])
    expected = [[[16, 17, 18, 19], [-32, -33.5, -35, -36.5]], [[0, 1, 2, 3], [-8, -9.5, -11, -12.5]]]
    assert first[0] == second[0] == third[0] == expected
    assert third[1] == 1


def test_a_sum_of_products_is_rounded_once() -> None:
    one = compiled("float32(float32, float32, float32)")(lambda x, y, z: fma(x, y, z))
    x, z = np.float32(1 + 2**-12), np.float32(-1 - 2**-11)
    assert one(x, x, z) == 2**-24
    assert x * x + z == 0
