"""A run's Parquet file: whole or not there, and known to be what was written.

It holds the run's rows and, as metadata, what the run was and how it ended.
"""

import errno
import glob
import hashlib
import os
import platform
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ecgscale.records.schema import COLUMNS, SCHEMA, SCHEMA_VERSION, run_id_of
from ecgscale.records.seals import UNSEALED, intact, sealed_bytes

FULL = (errno.ENOSPC, errno.EDQUOT)  # what writing on a full disk, or above a quota, says
_MEASURED = {"flops", "value", "seconds"}  # hardly a number twice: a dictionary would be larger than they are


class BadResults(ValueError):
    """A results file that cannot be believed: damaged, or not the run its name says."""

    def __init__(self, path: Path, what: str) -> None:
        self.why, self.what = what, f"results file {path.parent.name}/{path.name} {what}"
        remedy = f"launch {path.parent.name} again: it sets the file aside and does that run anew"
        super().__init__(f"{self.what}; {remedy}")


@dataclass(frozen=True)
class RunFile:
    """What one run left behind: its rows, its description (the run's JSON) and its facts.

    ``facts`` are strings: status, why, corpus_digest, commit, versions, device, peak_memory_bytes, schema_version, ...
    """

    rows: pd.DataFrame
    description: str
    facts: Mapping[str, str] = field(default_factory=dict)

    @property
    def status(self) -> str:
        return self.facts.get("status", "running")


def path_of(results: Path, sweep: str, run_id: str) -> Path:
    """Where the file of a run lives."""
    return results / "runs" / sweep / f"{run_id}.parquet"


def unguarded() -> None:
    """Nobody else may write here."""


def write_whole(path: Path, data: bytes, guard: Callable[[], None] = unguarded) -> None:
    """Write a file whole or not at all: temporary file, fsync, rename, fsync of the folder.

    Temporary files of it that processes left which were killed here are removed. Raises OSError if the disk is full.
    ``guard`` is asked last before the rename and raises if the file has a new owner. An owner that comes after that
    sweeps the temporary files of its forerunners away, and a rename of what is gone fails: no late write gets through.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    write_together({path: data}, guard)


def write_together(files: Mapping[Path, bytes], guard: Callable[[], None] = unguarded) -> None:
    """Write files as ``write_whole`` does, those of a model say: none is renamed before all are written."""
    partials: list[tuple[Path, Path]] = []
    try:
        for path, data in files.items():
            for left in path.parent.glob(f".{glob.escape(path.name)}.*.partial"):
                if is_left(left):
                    left.unlink(missing_ok=True)
            partial = path.with_name(f".{path.name}.{own_mark()}.partial")
            partials.append((partial, path))
            with open(partial, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        guard()
        for partial, path in partials:
            os.replace(partial, path)
    finally:
        for partial, _ in partials:
            partial.unlink(missing_ok=True)
    for parent in {path.parent for path in files}:
        folder = os.open(parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def sweep_partials(path: Path) -> None:
    """Remove what unfinished writes of a file left; a write that is still under way will fail."""
    for partial in path.parent.glob(f".{path.name}.*.partial"):
        partial.unlink(missing_ok=True)


def own_mark() -> str:
    """What this process puts into the name of a temporary file, so that another sees when nobody is left to finish it.

    Where its processes are counted, its process, and a number drawn for each file.
    """
    return f"{_place()}-{os.getpid()}-{uuid.uuid4().hex}"


def is_left(partial: Path) -> bool:
    """Whether a temporary file ("NAME.MARK.partial") was begun by a process of this machine that is no more."""
    mark = partial.name.removesuffix(".partial").rpartition(".")[2].split("-")
    if len(mark) != 3 or mark[0] != _place() or not mark[1].isdigit():
        return False
    try:
        os.kill(int(mark[1]), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


@cache
def _place() -> str:
    """Which machine this is, since when it runs, and which of its sets of processes is ours; in eight digits."""
    said = platform.node()
    with suppress(OSError):
        said += Path("/proc/sys/kernel/random/boot_id").read_text() + os.readlink("/proc/self/ns/pid")
    return hashlib.sha256(said.encode()).hexdigest()[:8]


def write(
    path: Path,
    rows: Sequence[Mapping[str, Any]],
    description: str,
    facts: Mapping[str, str],
    guard: Callable[[], None] = unguarded,
) -> None:
    """Replace a run's file by these rows, atomically, with page checksums and a seal over every byte."""
    metadata = {"run": description, "schema_version": SCHEMA_VERSION, **facts}
    write_whole(path, sealed(pa.Table.from_pylist(list(rows), SCHEMA), metadata), guard)


def sealed(table: pa.Table, metadata: Mapping[str, str], compression: str = "zstd") -> bytes:
    """A Parquet file in which no bit changes unseen: page checksums, and a SHA-256 of all its bytes in its footer."""
    sink = pa.BufferOutputStream()
    marked = table.replace_schema_metadata({**metadata, "seal": UNSEALED})
    repeated = [name for name in table.column_names if name not in _MEASURED]
    pq.write_table(
        marked,
        sink,
        compression=compression,
        write_page_checksum=True,
        use_dictionary=repeated,
        use_byte_stream_split=[name for name in table.column_names if name in _MEASURED],
    )
    return sealed_bytes(sink.getvalue().to_pybytes())


def read_table(path: Path) -> pa.Table:
    """Read and verify one run's file; its metadata are description and facts.

    Raises BadResults, in one sentence, if the file is damaged or its description does not hash to its name.
    """
    try:
        table = pq.read_table(pa.BufferReader(intact(path)), page_checksum_verification=True)
    except (pa.ArrowException, ValueError) as error:
        raise BadResults(path, f"is damaged ({first_line(error)})") from error
    described = (table.schema.metadata or {}).get(b"run", b"").decode()
    check_identity(path, path.stem, described)
    missing = [c for c in COLUMNS if c.name not in table.column_names]
    if any(c.before is None for c in missing):
        raise BadResults(path, f"lacks the columns {', '.join(c.name for c in missing)}")
    for c in missing:
        table = table.append_column(c.name, pa.array([c.before] * len(table), c.type))
    return table.select(SCHEMA.names)


def read_facts(path: Path) -> tuple[str, dict[str, str]]:
    """Description and facts of a run's file, every byte of it verified. Raises as ``read_table``."""
    try:
        metadata = pq.read_schema(pa.BufferReader(intact(path))).metadata or {}
    except (pa.ArrowException, ValueError) as error:
        raise BadResults(path, f"is damaged ({first_line(error)})") from error
    return facts_of(path, metadata)


def facts_of(path: Path, metadata: Mapping[bytes, bytes]) -> tuple[str, dict[str, str]]:
    """Description and facts that a file's metadata hold."""
    facts = {k.decode(): v.decode() for k, v in metadata.items()}
    description = facts.pop("run", "")
    facts.pop("seal", None)
    check_identity(path, path.stem, description)
    return description, facts


def check_identity(path: Path, run_id: str, description: str) -> None:
    """Raise BadResults if a file's description is not that of the run which its name says."""
    if not description:
        raise BadResults(path, "does not describe its run")
    if run_id_of(description) != run_id:
        raise BadResults(path, f"describes run {run_id_of(description)}, which is not its name")


def as_rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of a frame as they were written; a missing number is None."""
    return pa.Table.from_pandas(frame, SCHEMA, preserve_index=False).to_pylist()


def first_line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return text[0][:160] if text else type(error).__name__
