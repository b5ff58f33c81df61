"""Who does a run: leases on a folder that many machines share, so that each run is done once.

A lease is a file named after its run and a fencing token that only grows; making the next one is exclusive. Its holder
moves a counter in it; whoever has looked often enough and seen it stand still may take the next token. A holder whose
token is no longer the newest has lost the run, and its late writes are refused. No clock is read, nothing is locked.
"""

import hashlib
import json
import os
import platform
import threading
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ecgscale import records

HEARTBEAT_SECONDS = 2.0
LOOKS = 10  # that see a lease stand still before it is taken over
LOOK_SECONDS = 3.0
_WIDTH = 12  # digits of the counter


class Lost(Exception):
    """Somebody else holds the run now; what this process knows of it is late."""


@dataclass(frozen=True)
class Lease:
    """A claim on a run. ``token`` fences: of two holders the one with the larger is right."""

    file: Path
    token: int
    nonce: str
    causes: tuple[str, ...] = ()  # why earlier holders of the same launch lost the run

    def check(self) -> None:
        """Raise Lost if the run has a newer holder, or none."""
        run_id = self.file.name.split(".")[0]
        newest = _newest(self.file.parent, run_id)
        if newest is None or newest[0] != self.token or _said(newest[1]).get("nonce") != self.nonce:
            raise Lost(f"run {run_id} is held by another")

    def beat(self, count: int) -> None:
        """Show that the holder lives. Writes in place, so that a full disk does not look like death."""
        try:
            descriptor = os.open(self.file, os.O_WRONLY)
        except FileNotFoundError:
            raise Lost(f"run {self.file.name.split('.')[0]} is held by another") from None
        try:
            os.pwrite(descriptor, f"{count:0{_WIDTH}d}".encode(), 0)
        finally:
            os.close(descriptor)

    def release(self) -> None:
        """Give the run back, done or not."""
        self.file.unlink(missing_ok=True)


class Claims:
    """The leases of a sweep as one holder sees them: what it may claim, and since how many looks others stand still."""

    def __init__(self, folder: Path, launch: str, slot: str = "") -> None:
        """``launch`` and ``slot`` name the holder; its successor under the same names takes over at once."""
        self.folder, self.launch, self.slot = folder, launch, slot
        self._looks: dict[str, tuple[bytes, int, float, bool]] = {}

    def claim(self, run_id: str, at_least: int = 0, files: Sequence[Path] = ()) -> Lease | None:
        """Claim a run, with a token above ``at_least``; None if it is held by somebody who may be alive.

        What an earlier holder has half written of the run's ``files`` is swept away once the new token stands.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        newest = _newest(self.folder, run_id)
        causes: tuple[str, ...] = ()
        if newest is not None:
            said = _said(newest[1])
            ours = said.get("launch") == self.launch
            if not (ours and said.get("slot") == self.slot) and not self._is_stale(newest[1], said):
                return None
            if ours:
                causes = (*said.get("causes", ()), "its worker's keeper died")
        token = max(at_least, newest[0] if newest else 0) + 1
        lease = Lease(self.folder / f"{run_id}.{token:06d}.lease", token, uuid.uuid4().hex, causes)
        if not _create(lease.file, self._words(lease)):
            return None
        for path in files:
            records.sweep_partials(path)
        for older, file in _leases(self.folder, run_id):
            if older < token:
                file.unlink(missing_ok=True)
        return lease

    def claim_patiently(self, run_id: str, at_least: int = 0, files: Sequence[Path] = ()) -> Lease | None:
        """As ``claim``, but wait until a lease whose holder shows no life may be taken over."""
        for _ in range(LOOKS + 2):
            lease = self.claim(run_id, at_least, files)
            if lease is not None or self._has_moved(run_id):
                return lease
            time.sleep(LOOK_SECONDS)
        return None

    def held(self, run_id: str) -> bool:
        """Whether somebody who may be alive holds a run. Counts as a look."""
        newest = _newest(self.folder, run_id)
        return newest is not None and not self._is_stale(newest[1], _said(newest[1]))

    def _has_moved(self, run_id: str) -> bool:
        """Whether a lease was seen to change between two looks."""
        return any(name.split(".")[0] == run_id and moved for name, (_, _, _, moved) in self._looks.items())

    def _is_stale(self, file: Path, said: dict[str, Any]) -> bool:
        if _is_dead(said):
            return True
        now, words = time.monotonic(), _read(file)
        before, looks, since, moved = self._looks.get(file.name, (words, 0, now, False))
        if words != before:
            looks, since, moved = 0, now, True
        elif now - since >= LOOK_SECONDS:
            looks, since = looks + 1, now
        self._looks[file.name] = (words, looks, since, moved)
        return looks >= LOOKS

    def _words(self, lease: Lease) -> bytes:
        said = {
            "launch": self.launch,
            "slot": self.slot,
            "nonce": lease.nonce,
            "causes": lease.causes,
            "place": _place(),
            "machine": _machine(),
            "process": (os.getpid(), _started(os.getpid())),
        }
        return f"{0:0{_WIDTH}d}\n{json.dumps(said)}\n".encode()


class Heartbeat:
    """Beats for a lease in a thread of its own, as long as the block runs."""

    def __init__(self, lease: Lease) -> None:
        self.lease, self.lost = lease, threading.Event()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> "Heartbeat":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _beat(self) -> None:
        count = 0
        while not self._ended.wait(HEARTBEAT_SECONDS):
            count += 1
            try:
                self.lease.beat(count)
                self.lease.check()
            except Lost:
                self.lost.set()
                return
            except OSError:
                continue  # a storage that is away for a while; if for long, others take over


def folder_of(results: Path, sweep: str) -> Path:
    """Where the leases of a sweep live."""
    return results / "leases" / sweep


def open_launch(folder: Path) -> str:
    """Announce a launch; its name. It is open while its file is there: to remove a file works on a full disk too.

    The file says which process of which machine it is, so that others see when it is dead; on a full disk, nothing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = uuid.uuid4().hex[:12]
    own = {"place": _place(), "machine": _machine(), "process": (os.getpid(), _started(os.getpid()))}
    (folder / f"{name}.open").touch()
    with suppress(OSError):
        (folder / f"{name}.open").write_text(f"\n{json.dumps(own)}\n")
    return name


def sweep_dead(folder: Path) -> list[str]:
    """Remove the announcements of launches whose process is no more; their names."""
    dead = [file for file in folder.glob("*.open") if _is_dead(_said(file))]
    for file in dead:
        with suppress(OSError):  # somebody else's, to be read alone
            file.unlink(missing_ok=True)
    return [file.stem for file in dead]


def close_launch(folder: Path, launch: str) -> None:
    """Tell a launch's workers to stop at their next step."""
    (folder / f"{launch}.open").unlink(missing_ok=True)


def is_open(folder: Path, launch: str) -> bool:
    return (folder / f"{launch}.open").exists()


def close_all(folder: Path) -> int:
    """Tell every launch of a sweep to stop that may be alive; how many were told. Dead ones are swept away."""
    sweep_dead(folder)
    told = list(folder.glob("*.open"))
    for file in told:
        file.unlink(missing_ok=True)
    return len(told)


def held_runs(folder: Path) -> set[str]:
    """Ids of a sweep's runs that have a holder, as far as a single look tells."""
    files = folder.glob("*.lease") if folder.is_dir() else ()
    return {file.name.split(".")[0] for file in files if not _is_dead(_said(file))}


def _is_dead(said: dict[str, Any]) -> bool:
    """Whether the holder that wrote this is no more: on this machine, or before its last start, one can see it."""
    pid, started = said.get("process", (0, 0))
    place, machine = said.get("place", ""), said.get("machine", "")
    if machine and machine == _machine() and place and _place() and _boot(place) != _boot(_place()):
        return True
    return place == _place() != "" and _started(pid) != started


def _leases(folder: Path, run_id: str) -> list[tuple[int, Path]]:
    found = []
    for name in os.listdir(folder):
        if name.split(".")[0] == run_id and name.endswith(".lease"):
            found.append((int(name.split(".")[1]), folder / name))
    return sorted(found)


def _newest(folder: Path, run_id: str) -> tuple[int, Path] | None:
    found = _leases(folder, run_id) if folder.is_dir() else []
    return found[-1] if found else None


def _create(file: Path, words: bytes) -> bool:
    """Make a file that nobody else has made; O_EXCL is atomic on local file systems and NFS."""
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        return False
    try:
        os.write(descriptor, words)
    except OSError:
        file.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)
    return True


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        return b""


def _said(file: Path) -> dict[str, Any]:
    """What a holder wrote; empty while it has not."""
    _, _, words = _read(file).partition(b"\n")
    try:
        return json.loads(words)
    except ValueError:
        return {}


@cache
def _place() -> str:
    """This machine since its start, and the process namespace in it; empty where that cannot be known."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot[:8]}-{os.readlink('/proc/self/ns/pid')[5:-1]}"
    except OSError:
        return ""


def _boot(place: str) -> str:
    return place.partition("-")[0]


@cache
def _machine() -> str:
    """This machine, whenever it was started; empty where that cannot be known."""
    try:
        known = Path("/etc/machine-id").read_text().strip()
    except OSError:
        return ""
    node = platform.node()
    if not known or node in ("", "localhost"):
        return ""
    return hashlib.sha256(f"{known}/{node}".encode()).hexdigest()[:16]


def _started(pid: int) -> int:
    """When a process of this machine began, in ticks since the machine did; -1 if it is no more. No clock is asked."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return -1
    return -1 if state in "ZX" else int(fields[18])
