"""NumPy files that are truncated, hostile, absurd or of another shape are named in one sentence."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from ecgscale import data
from ecgscale.data import npy
from tests import layouts

SHAPE = (None, 1, 2500, 12)


def header(shape: str, kind: str = "<f4") -> bytes:
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}"
    text = text.ljust(118 - 1) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


class Hostile:
    def __reduce__(self) -> tuple:
        return (print, ("executed",))


SPOILED = {
    "truncated": (lambda whole: whole[: len(whole) // 2], "is not a whole NumPy array"),
    "empty": (lambda whole: b"", "is not a whole NumPy array"),
    "a pickle": (lambda whole: pickle.dumps(Hostile()), "is not a whole NumPy array"),
    "objects": (lambda whole: header("(1,)", "|O") + pickle.dumps([Hostile()]), "holds Python objects"),
    "petabytes": (lambda whole: header("(1000000000000, 1, 2500, 12)"), "is not a whole NumPy array"),
    "beyond 64 bits": (lambda whole: header("(99999999999999999999, 1, 2500, 12)"), "is not a whole NumPy array"),
    "negative": (lambda whole: header("(-4, 1, 2500, 12)"), "is not a whole NumPy array"),
    "no leads": (
        lambda whole: header("(1, 2500)") + bytes(10_000),
        r"is of shape \(1, 2500\), expected \(n, 1, 2500, 12\)",
    ),
    "leads first": (
        lambda whole: header("(1, 1, 12, 2500)") + bytes(120_000),
        r"is of shape \(1, 1, 12, 2500\), expected \(n, 1, 2500, 12\)",
    ),
    "text": (lambda whole: header("(1, 1, 2500, 12)", "<U1") + bytes(120_000), "is not an array of numbers"),
}


@pytest.mark.parametrize("how", SPOILED)
def test_a_spoiled_array_is_named(how: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    layouts.echonext_arrays(tmp_path / "raw")
    path = tmp_path / "raw" / "EchoNext_train_waveforms.npy"
    spoil, said = SPOILED[how]
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises((OSError, ValueError), match=rf"EchoNext_train_waveforms\.npy {said}") as refused:
        data.prepare("echonext", tmp_path / "raw", tmp_path / "home", workers=1)
    assert "\n" not in str(refused.value)
    assert str(tmp_path) not in str(refused.value)
    assert "executed" not in capfd.readouterr().out


def test_an_archive_is_no_array(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros(3))
    with pytest.raises(OSError, match=r"a\.npz is not an array of numbers"):
        npy.array(tmp_path / "a.npz", SHAPE)
    with pytest.raises(FileNotFoundError, match=r"b\.npy is missing"):
        npy.array(tmp_path / "b.npy", SHAPE)


def test_a_sound_array_is_mapped(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones((3, 1, 2500, 12), dtype=np.float32))
    assert isinstance(npy.array(tmp_path / "a.npy", SHAPE), np.memmap)
