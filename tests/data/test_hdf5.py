"""HDF5 files that point elsewhere are refused; truncated ones are named."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from ecgscale.data import hdf5


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
