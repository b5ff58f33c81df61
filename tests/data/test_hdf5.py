"""HDF5 files that point elsewhere or claim what they cannot hold are refused; truncated and locked ones are named."""

import fcntl
import resource
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from ecgscale import data
from ecgscale.data import corpus, hdf5
from tests import layouts


def test_plain_data_is_read(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        file["x"] = np.arange(4)
    assert hdf5.column(tmp_path / "a.hdf5", "x").tolist() == [0, 1, 2, 3]
    with pytest.raises(KeyError, match="no dataset 'y'; it has x"):
        hdf5.column(tmp_path / "a.hdf5", "y")


@pytest.mark.parametrize("kind", ["external link", "soft link", "external storage", "virtual", "objects", "group"])
def test_what_lies_elsewhere_is_refused(tmp_path: Path, kind: str) -> None:
    with h5py.File(tmp_path / "secret.hdf5", "w") as secret:
        secret["x"] = np.arange(4.0)
    (tmp_path / "secret.bin").write_bytes(np.arange(4.0).tobytes())
    path = tmp_path / "a.hdf5"
    with h5py.File(path, "w") as file:
        if kind == "external link":
            file["x"] = h5py.ExternalLink("secret.hdf5", "x")
        elif kind == "soft link":
            file["y"] = np.arange(4.0)
            file["x"] = h5py.SoftLink("/y")
        elif kind == "external storage":
            file.create_dataset("x", (4,), "f8", external=[(str(tmp_path / "secret.bin"), 0, 32)])
        elif kind == "virtual":
            layout = h5py.VirtualLayout((4,), "f8")
            layout[:] = h5py.VirtualSource(tmp_path / "secret.hdf5", "x", (4,))
            file.create_virtual_dataset("x", layout)
        elif kind == "objects":
            file.create_dataset("x", data=["text"], dtype=h5py.string_dtype())
        else:
            file.create_group("x")
    with pytest.raises(PermissionError, match=r"a\.hdf5"):
        hdf5.dataset(path, "x")


def test_a_truncated_file_is_named_with_its_size(tmp_path: Path) -> None:
    path = tmp_path / "exams_part3.hdf5"
    with h5py.File(path, "w") as file:
        file["x"] = np.zeros(100_000)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(OSError, match=r"exams_part3\.hdf5 is not a complete HDF5 file \(4\d\d,\d{3} bytes\)"):
        hdf5.column(path, "x")


ABSURD: dict[str, dict[str, Any]] = {
    "petabytes in pieces": {"shape": (10**12, 4096, 12), "chunks": (1, 4096, 12)},
    "one row of terabytes": {"shape": (4, 10**11, 12), "chunks": (1, 4096, 12)},
    "a column of terabytes": {"shape": (10**12,), "chunks": (4096,)},
    "huge pieces": {"shape": (10**9,), "chunks": (10**9,), "compression": "gzip"},
}


@pytest.mark.parametrize("kind", ABSURD)
def test_absurd_shapes_are_refused_before_anything_is_allocated(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "exams_part3.hdf5"
    with h5py.File(path, "w") as file:
        file.create_dataset("x", dtype="f4", **ABSURD[kind])
    with pytest.raises(OSError, match=r"exams_part3\.hdf5: 'x' claims [\d, x]+ numbers and the file holds 0 bytes"):
        hdf5.dataset(path, "x")


def test_well_packed_data_is_read_and_a_bomb_is_not(tmp_path: Path) -> None:
    path = tmp_path / "a.hdf5"
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        file.create_dataset("real", data=np.round(rng.normal(size=(8, 4096, 12)), 1), compression="gzip", shuffle=True)
        file.create_dataset("zeros", data=np.zeros((8, 4096, 12)), chunks=(1, 4096, 12), compression="gzip")
        bomb = file.create_dataset("bomb", (100_000, 4096, 12), "f4", chunks=(1, 4096, 12), compression="gzip")
        bomb[0] = 1
    assert hdf5.dataset(path, "real").shape == (8, 4096, 12)
    assert not hdf5.column(path, "zeros").any()
    with pytest.raises(OSError, match="damaged or hostile"):
        hdf5.dataset(path, "bomb")


@pytest.mark.parametrize("values", [np.array([b"text"]), np.array([1j]), np.array([(1, 2.0)], dtype="i4,f4")])
def test_what_is_not_numbers_is_named(values: np.ndarray, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        file["x"] = values
    with pytest.raises(OSError, match=r"a\.hdf5: 'x' holds .*, not numbers"):
        hdf5.dataset(tmp_path / "a.hdf5", "x")


@pytest.mark.parametrize("link", ["external", "soft"])
def test_a_group_that_is_a_link_is_no_way_around(link: str, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "secret.hdf5", "w") as secret:
        secret["group/x"] = np.arange(4.0)
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        file["real/x"] = np.arange(4.0)
        file["group"] = h5py.ExternalLink("secret.hdf5", "group") if link == "external" else h5py.SoftLink("/real")
    with pytest.raises(PermissionError, match="'group' is a link to elsewhere"):
        hdf5.dataset(tmp_path / "a.hdf5", "group/x")
    assert hdf5.shapes(tmp_path / "a.hdf5") == {"real/x": (4,)}


def test_a_file_that_somebody_writes_is_locked_not_damaged(tmp_path: Path) -> None:
    layouts.sph(tmp_path / "raw")
    path = sorted((tmp_path / "raw" / "records").glob("*.h5"))[0]
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with pytest.raises(hdf5.Locked, match=rf"{path.name} cannot be locked.*HDF5_USE_FILE_LOCKING=FALSE"):
            data.prepare("sph", tmp_path / "raw", tmp_path / "home", workers=1)
    assert not corpus.is_prepared(tmp_path / "home", "sph")  # no record was set aside for it
    assert data.prepare("sph", tmp_path / "raw", tmp_path / "home", workers=1).manifest.refused == {}


@pytest.mark.slow
def test_an_absurd_record_costs_no_memory(tmp_path: Path) -> None:
    """A preparation within six gigabytes of addresses: the record is set aside, the others are prepared."""
    layouts.sph(tmp_path / "raw")
    path = sorted((tmp_path / "raw" / "records").glob("*.h5"))[0]
    with h5py.File(path, "w") as file:
        file.create_dataset("ecg", (12, 10**13), "f2", chunks=(12, 5000))
    program = f"""
    import resource
    resource.setrlimit(resource.RLIMIT_AS, (6 * 2**30, 6 * 2**30))
    from pathlib import Path
    from ecgscale import data
    raw, home = Path({str(tmp_path / "raw")!r}), Path({str(tmp_path / "home")!r})
    print(dict(data.prepare("sph", raw, home, workers=1).manifest.refused))
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "{'file cannot be read (OSError)': 1}"
    assert resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY


def test_an_absurd_part_is_one_sentence(tmp_path: Path) -> None:
    layouts.code15(tmp_path / "raw")
    path = tmp_path / "raw" / "exams_part0.hdf5"
    with h5py.File(path, "r+") as file:
        del file["tracings"]
        file.create_dataset("tracings", (10**12, 4096, 12), "f4", chunks=(1, 4096, 12))
    with pytest.raises(OSError, match=r"exams_part0\.hdf5: 'tracings' claims 1,000,000,000,000 x 4,096 x 12 numbers"):
        data.prepare("code15", tmp_path / "raw", tmp_path / "home", workers=1)
