"""A run while it is measured: lines appended to a journal, turned into its Parquet file when it has ended.

Each line stands behind its own checksum. A last line that was cut off is as good as not written; damage anywhere else
is named. A journal carries the number of the lease it was written under, so that of two the newer is the true one.
"""

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa

from ecgscale.records.files import (
    BadResults,
    RunFile,
    as_rows,
    check_identity,
    facts_of,
    read_facts,
    read_table,
    unguarded,
    write,
    write_whole,
)
from ecgscale.records.schema import SCHEMA

_DIGITS = 16  # of a line's SHA-256


class Journal:
    """What one holder of a run writes down: begin, an entry an evaluation, end."""

    def __init__(self, path: Path, description: str, token: int = 0, guard: Callable[[], None] = unguarded) -> None:
        """``path`` is the run's Parquet file; ``token`` the number of its lease, by default the next one."""
        self.path, self.description, self.guard = path, description, guard
        self.token = token or newest_token(path) + 1
        self.file = path.with_name(f".{path.stem}.{self.token:06d}.journal")
        self.rows: list[dict[str, Any]] = []
        self.facts: dict[str, str] = {}

    def begin(self, rows: Sequence[dict[str, Any]], facts: Mapping[str, str]) -> None:
        """Go on from these rows; journals of earlier holders are done with."""
        self.rows, self.facts = list(rows), {**facts, "status": "running", "lease": str(self.token)}
        head = {"run": self.description, "facts": self.facts}
        write_whole(self.file, _line(head) + _line({"rows": self.rows}), self.guard)
        self._remove_journals(self.token - 1)

    def add(self, rows: Sequence[dict[str, Any]]) -> None:
        """Append the rows of one evaluation; on a full disk nothing of them is left behind.

        They outlive this process, and after ``sync`` the machine.
        """
        self.guard()
        try:
            descriptor = os.open(self.file, os.O_WRONLY | os.O_APPEND)
        except FileNotFoundError:
            self.guard()  # a later holder removed it
            raise
        try:
            size = os.fstat(descriptor).st_size
            line = _line({"rows": list(rows)})
            try:
                while line:
                    line = line[os.write(descriptor, line) :]
            except OSError:
                os.ftruncate(descriptor, size)
                raise
        finally:
            os.close(descriptor)
        self.rows += rows

    def sync(self) -> None:
        """Have what was added on the disk: before the checkpoint that relies on it."""
        descriptor = os.open(self.file, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def end(self, facts: Mapping[str, str]) -> None:
        """Write the run's Parquet file, with its status among the facts, in place of the journal."""
        write(self.path, self.rows, self.description, {**self.facts, **facts, "lease": str(self.token)}, self.guard)
        self._remove_journals(self.token)

    def _remove_journals(self, newest: int) -> None:
        for token, journal in pieces_of(self.path):
            if token <= newest:
                journal.unlink(missing_ok=True)


def give_up(
    path: Path,
    description: str,
    status: str,
    why: str,
    facts: Mapping[str, str],
    token: int = 0,
    guard: Callable[[], None] = unguarded,
) -> None:
    """End a run that ended without a word; what it measured is kept."""
    journal = Journal(path, description, token, guard)
    with suppress(FileNotFoundError, BadResults):
        left = read(path)
        journal.rows, journal.facts = as_rows(left.rows), dict(left.facts)
    journal.end({**facts, "status": status, "why": why})


def running(folder: Path) -> dict[str, tuple[int, Path]]:
    """The newest journal of every run in a sweep's folder, with the number of its lease."""
    newest: dict[str, tuple[int, Path]] = {}
    for name in os.listdir(folder) if folder.is_dir() else ():
        if name.endswith(".journal"):
            run_id, token = name[1:].split(".")[:2]
            newest[run_id] = max(newest.get(run_id, (0, folder)), (int(token), folder / name))
    return newest


def pieces_of(path: Path) -> list[tuple[int, Path]]:
    """All journals of one run, by the number of their lease."""
    return sorted((int(p.name.split(".")[2]), p) for p in path.parent.glob(f".{path.stem}.*.journal"))


def newest_token(path: Path) -> int:
    """The number of the last lease under which something of a run was written; 0 if nothing was."""
    tokens = [token for token, _ in pieces_of(path)]
    with suppress(FileNotFoundError, BadResults):
        tokens.append(int(read_facts(path)[1].get("lease", "0")))
    return max(tokens, default=0)


def read(path: Path) -> RunFile:
    """What is known of a run: its file, or the journal of a later holder.

    Raises BadResults for what cannot be believed, FileNotFoundError if there is neither.
    """
    journal = running(path.parent).get(path.stem)
    if journal is not None:
        with suppress(FileNotFoundError):  # unless the run has ended meanwhile
            if not path.is_file() or journal[0] > int(read_facts(path)[1].get("lease", "0")):
                return read_journal(journal[1])
    table = read_table(path)
    description, facts = facts_of(path, table.schema.metadata)
    return RunFile(table.to_pandas(), description, facts)


def state_of(path: Path, journals: Mapping[str, tuple[int, Path]] | None = None) -> tuple[str, str]:
    """State of a run, and why: one of STATES, "pending" if nothing is written, "damaged" if it cannot be believed.

    ``journals`` are those of the folder (see ``running``), if they are known already.
    """
    try:
        told = _facts(path, journals)
    except FileNotFoundError:
        return "pending", ""
    except BadResults as error:
        return "damaged", error.why
    return (told.get("status", "running"), told.get("why", "")) if told else ("pending", "")


def facts(path: Path, journals: Mapping[str, tuple[int, Path]] | None = None) -> dict[str, str]:
    """What a run's file, or the journal of a later holder, says of it; nothing if there is neither, or no belief."""
    try:
        return _facts(path, journals)
    except (FileNotFoundError, BadResults):
        return {}


def _facts(path: Path, journals: Mapping[str, tuple[int, Path]] | None) -> dict[str, str]:
    """As ``facts``. Raises FileNotFoundError, BadResults."""
    journal = (running(path.parent) if journals is None else journals).get(path.stem)
    told = read_facts(path)[1] if path.is_file() else {}
    if journal is not None and journal[0] > int(told.get("lease", "0")):
        try:
            return dict(read_journal(journal[1]).facts)
        except FileNotFoundError:  # the run has ended meanwhile
            return read_facts(path)[1]
    return told


def read_journal(journal: Path) -> RunFile:
    """What a journal holds until now. Raises BadResults if it is damaged, FileNotFoundError if it is gone."""
    lines = journal.read_bytes().split(b"\n")[:-1]  # what is behind the last line end was cut off
    entries: list[dict[str, Any]] = []
    for number, line in enumerate(lines):
        if _checksum(line[_DIGITS + 1 :]) != line[:_DIGITS]:
            if number == len(lines) - 1 and number > 1:
                break
            raise BadResults(journal, f"is damaged (line {number + 1} does not match its checksum)")
        entries.append(json.loads(line[_DIGITS + 1 :]))
    if len(entries) < 2:
        raise BadResults(journal, "is damaged (it is cut short)")
    head = entries[0]
    check_identity(journal, journal.name[1:].split(".")[0], head["run"])
    rows = [row for entry in entries[1:] for row in entry["rows"]]
    return RunFile(pa.Table.from_pylist(rows, SCHEMA).to_pandas(), head["run"], head["facts"])


def _line(entry: Any) -> bytes:
    text = json.dumps(entry, separators=(",", ":"), default=lambda number: number.item()).encode()
    return _checksum(text) + b" " + text + b"\n"


def _checksum(text: bytes) -> bytes:
    return hashlib.sha256(text).hexdigest()[:_DIGITS].encode()
