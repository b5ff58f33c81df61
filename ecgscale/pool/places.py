"""Places of a launch, each a GPU or a node: the faults met there, and which of them are retired.

A fault of a place is not one of the run that met it: the run is given back. After two faults in a row, or one that a
test in a fresh process confirms, nothing more is put there. The same fault of the same run on two places is the run's.
What is known lies beside the launch's leases, where every slot, ``status`` and ``failures`` find it.
"""

import hashlib
import json
import os
import platform
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ecgscale import leases
from ecgscale.place_faults import PlaceFault
from ecgscale.records import write_whole

_IN_A_ROW = 2  # faults after which a place is retired
_FOLDER = "places"


@dataclass(frozen=True)
class Location:
    """Where a slot is: the node's name, and its GPU (or GPUs, or CPU)."""

    node: str
    device: str

    @classmethod
    def here(cls, device: str) -> "Location":
        """This process' own, as Ray or Slurm have set it; ``device`` is what torch calls it."""
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        if visible is None:
            visible = (device.partition(":")[2] or "0") if device.startswith("cuda") else ""
        return cls(platform.node(), f"GPU {visible}" if visible else "CPU")

    def part(self, of: str) -> str:
        """The node, or the GPU on it."""
        return self.node if of == "node" else f"{self.node}, {self.device}"


@dataclass(frozen=True)
class Retired:
    """A place where nothing more is put, and why."""

    name: str
    why: str

    def __str__(self) -> str:
        return f"{self.name}: {self.why}; nothing more is put there, and the runs that met it are given back"


class Faults:
    """The faults that one launch's slots have met, as the slot at one place sees and tells them."""

    def __init__(self, folder: Path, launch: str, at: Location) -> None:
        """``folder`` is the sweep's (``leases.folder_of``)."""
        self._folder, self.at = folder / _FOLDER / launch, at

    def met(self, run_id: str, fault: PlaceFault) -> bool:
        """Write down that a run met a fault here; false if it met the same elsewhere, for then it is the run's own."""
        name = self.at.part(fault.of)
        for file in self._folder.glob(f"{run_id}.*.run"):
            said = _read(file)
            if said.get("what") == fault.what and said.get("place") != name:
                return False
        self._write(self._folder / f"{run_id}.{_digest(name)}.run", {"what": fault.what, "place": name})
        n = int(_read(self._file(fault.of)).get("in_a_row", 0)) + 1
        self._tell(fault.of, str(fault), n, n >= _IN_A_ROW)
        return True

    def retire(self, fault: PlaceFault, found: str) -> None:
        """Put nothing more here, for what a test has ``found`` after a fault."""
        self._tell(fault.of, f"{fault}, and a test of it says: {found}", 1, True)

    def ended_well(self) -> None:
        """A run has ended here by itself: faults before it are no row any more."""
        for of in ("node", "GPU"):
            if (file := self._file(of)).is_file() and not _read(file).get("retired"):
                file.unlink(missing_ok=True)

    @property
    def retired(self) -> bool:
        return any(_read(self._file(of)).get("retired") for of in ("node", "GPU"))

    def _tell(self, of: str, why: str, n: int, retired: bool) -> None:
        said = {"place": self.at.part(of), "why": why, "in_a_row": n, "retired": retired}
        self._write(self._file(of), said)

    def _write(self, file: Path, said: Mapping[str, Any]) -> None:
        with suppress(OSError):  # a place that cannot even say so: its slot meets the next fault
            file.parent.mkdir(parents=True, exist_ok=True)
            write_whole(file, json.dumps(said).encode())

    def _file(self, of: str) -> Path:
        return self._folder / f"{_digest(self.at.part(of))}.place"


def retired(folder: Path, launch: str = "*") -> list[Retired]:
    """The places that a launch of a sweep has retired; those of its latest launches, if none is named."""
    found = (_read(file) for file in sorted((folder / _FOLDER).glob(f"{launch}/*.place")))
    return list(dict.fromkeys(Retired(said["place"], said["why"]) for said in found if said.get("retired")))


def forget(folder: Path) -> None:
    """Forget the places of launches that are no more."""
    for launch in _launches(folder / _FOLDER):
        if not leases.is_open(folder, launch.name):
            shutil.rmtree(launch, ignore_errors=True)


def _launches(folder: Path) -> Iterator[Path]:
    with suppress(FileNotFoundError):
        yield from sorted(folder.iterdir())


def _digest(place: str) -> str:
    return hashlib.sha256(place.encode()).hexdigest()[:12]


def _read(file: Path) -> dict[str, Any]:
    try:
        return json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
