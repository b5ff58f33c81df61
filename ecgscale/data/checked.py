"""A corpus is what was prepared: every array against its SHA-256, once a node for as long as nobody touches the file.

What was checked is remembered in home under the node's name: size, times and inode of each file. As long as they stand,
to check again costs a look at each. A file that had changed so shortly before that its times could not tell another
change is read again the next time.
"""

import json
import os
import platform
import secrets
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from ecgscale.data import corpus
from ecgscale.data.corpus import Corpus
from ecgscale.records import write_whole

SILENT_SECONDS = 2.0  # before it is said that a corpus is being read
_STEP_NS = 2_000_000_000  # the coarsest in which a file system counts time

Say = Callable[[str], None]


def check(home: Path, name: str, say: Say = lambda _: None) -> Corpus:
    """Open a prepared corpus whose every byte is what its manifest says, as this node reads it or has read it.

    A manifest from before there were seals is sealed once all arrays match it. Raises corpus.Damaged, in one sentence
    with what to do, and as ``corpus.manifest_of``.
    """
    manifest, is_sealed = corpus.manifest_and_seal(home, name)
    memory, seen = _memory(home, name), _looked_at(home, name)
    if is_sealed and _remembered(memory) == {"digest": manifest.digest, "files": seen}:
        return corpus.read(home, name)
    began = _now(memory)
    found = _digests(home, name, say)
    if not manifest.files and corpus.digest_of(found) == manifest.digest:
        manifest = replace(manifest, files=found)  # so old that it has only the digest of all
    if corpus.NUMBERS not in manifest.files:  # they are being put beside
        found.pop(corpus.NUMBERS, None)
    wrong = [array for array in {**manifest.files, **found} if found.get(array) != manifest.files.get(array)]
    if wrong:
        raise corpus.Damaged(name, ", ".join(f"{array}.npy" for array in wrong), "not what was prepared")
    if not is_sealed:
        with suppress(OSError):  # somebody else's home
            corpus.write_manifest(corpus.folder_of(home, name), manifest)
            say(f"corpus {name} is from before manifests were sealed: all its arrays match, so it is sealed now")
            seen = _looked_at(home, name)
    if all(changed + _STEP_NS < began for _, _, changed, _ in seen.values()):
        with suppress(OSError):
            write_whole(memory, json.dumps({"digest": manifest.digest, "files": seen}).encode())
    return corpus.read(home, name)


def _digests(home: Path, name: str, say: Say) -> dict[str, str]:
    """SHA-256 of every array that is there."""
    arrays = corpus.arrays_of(home, name)
    n_bytes = sum(values.nbytes for values in arrays.values())
    told = threading.Timer(SILENT_SECONDS, say, [f"reading corpus {name} against its seals: {n_bytes / 1e9:.3g} GB"])
    told.daemon = True
    told.start()
    try:
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            return dict(zip(arrays, pool.map(corpus.sha256, arrays.values()), strict=True))
    finally:
        told.cancel()


def _looked_at(home: Path, name: str) -> dict[str, list[int]]:
    """Size, time of change of data and of inode, and inode of each file of a corpus."""
    files = sorted(corpus.folder_of(home, name).iterdir())
    stats = {file.name: file.stat() for file in files if not file.name.startswith(".")}
    return {file: [s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino] for file, s in stats.items()}


def _memory(home: Path, name: str) -> Path:
    return home / "checked" / (platform.node() or "here") / f"{name}.json"


def _remembered(memory: Path) -> Any:
    try:
        return json.loads(memory.read_bytes())
    except (OSError, ValueError):
        return None


def _now(memory: Path) -> int:
    """The time by the clock of the file system that home lies on; 0 if nothing can be written there."""
    probe = memory.with_name(f".{secrets.token_hex(8)}.partial")
    try:
        probe.parent.mkdir(parents=True, exist_ok=True)
        probe.touch()
        try:
            return probe.stat().st_ctime_ns
        finally:
            probe.unlink()
    except OSError:
        return 0
