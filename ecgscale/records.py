"""Rows of measured numbers: the one schema that training writes and analysis reads.

A run's file holds its rows and, as Parquet metadata, what the run was and how it ended. This module stands alone
(pyarrow and pandas only), so that reading results never loads torch.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

SCHEMA_VERSION = "1"
RUN_ID_DIGITS = 12
_SEAL, _UNSEALED = b"ecgscale-sha256:", b"0" * 64  # in the footer: SHA-256 of the file as it was before sealing
STATES = ("running", "done", "failed", "diverged", "oom")


@dataclass(frozen=True)
class Column:
    """One column of the results table: its name, Arrow type, unit (empty if none) and meaning."""

    name: str
    type: pa.DataType
    unit: str
    meaning: str
    before: Any = None  # its value in files written before there was this column; None: there are no such files


COLUMNS = (
    Column("sweep", pa.string(), "", "name of the sweep that the run was launched in"),
    Column("run_id", pa.string(), "", "first 12 hex digits of SHA-256 of the run's canonical JSON"),
    Column("configuration", pa.string(), "", "architecture and paradigm: resnet-sl, resnet-ssl, transformer-sl, ..."),
    Column("architecture", pa.string(), "", "resnet, transformer, ..."),
    Column("objective", pa.string(), "", "supervised, cmsc, masked, ..."),
    Column("paradigm", pa.string(), "", "sl (supervised) or ssl (self-supervised)"),
    Column("corpus", pa.string(), "", "pretraining corpus"),
    Column("fraction", pa.float64(), "", "fraction of the corpus' training patients that the run saw"),
    Column("label_set", pa.string(), "", "pretraining labels; empty if the objective uses none"),
    Column("n_labels", pa.int64(), "", "number of pretraining labels"),
    Column("seed", pa.int64(), "", "seed of initialisation, data order and masking"),
    Column("initial", pa.string(), "", "run id of the run whose backbone it started from; empty if none", before=""),
    Column("n_params", pa.int64(), "", "N: parameters of the backbone, without heads"),
    Column("n_params_head", pa.int64(), "", "parameters of the pretraining head"),
    Column("macs_per_sample", pa.int64(), "MAC", "one forward pass of backbone and head on one recording"),
    Column("n_samples", pa.int64(), "recordings", "D: unique pretraining recordings"),
    Column("n_patients", pa.int64(), "patients", "unique pretraining patients"),
    Column("batch_size", pa.int64(), "recordings", "recordings a gradient step"),
    Column(
        "step", pa.int64(), "steps", "gradient steps taken when the number was measured; 0 is the network before them"
    ),
    Column("flops", pa.float64(), "FLOP", "C = 6 x macs_per_sample x batch_size x step"),
    Column("target", pa.string(), "", "what was measured on: the corpus (ID) or a probe task (OOD)"),
    Column("domain", pa.string(), "", "ID or OOD"),
    Column("split", pa.string(), "", "train, val or test"),
    Column(
        "metric",
        pa.string(),
        "",
        "loss (nats), auroc (macro), f1 (macro, thresholds from val), prevalence_loss (predicting each label's train "
        "rate); convex_loss, convex_auroc, convex_f1 (of the convex probe)",
    ),
    Column("value", pa.float64(), "", "the measured number"),
    Column("n_evaluated", pa.int64(), "recordings", "recordings that entered the number"),
    Column(
        "n_classes_scored",
        pa.int64(),
        "",
        "classes with both outcomes, the others are left out; null if not a class mean",
    ),
    Column("seconds", pa.float64(), "s", "training time of the run until this step, evaluation excluded"),
)
SCHEMA = pa.schema([pa.field(c.name, c.type) for c in COLUMNS])


class BadResults(ValueError):
    """A results file that cannot be believed: damaged, or not the run its name says."""

    def __init__(self, path: Path, what: str) -> None:
        self.what = f"results file {path.parent.name}/{path.name} {what}"
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


@dataclass(frozen=True)
class Results:
    """All readable rows of a results folder, one line a run, and every file that could not be believed."""

    rows: pd.DataFrame
    runs: pd.DataFrame
    bad: tuple[str, ...]


def run_id_of(description: str) -> str:
    """The identity of a run: hash of its canonical JSON."""
    return hashlib.sha256(description.encode()).hexdigest()[:RUN_ID_DIGITS]


def path_of(results: Path, sweep: str, run_id: str) -> Path:
    """Where the file of a run lives."""
    return results / "runs" / sweep / f"{run_id}.parquet"


def write_whole(path: Path, data: bytes) -> None:
    """Write a file whole or not at all: temporary file, fsync, rename, fsync of the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with open(partial, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def write(path: Path, rows: Sequence[Mapping[str, Any]], description: str, facts: Mapping[str, str]) -> None:
    """Replace a run's file by these rows, atomically, with page checksums and a seal over every byte."""
    metadata = {"run": description, "schema_version": SCHEMA_VERSION, **facts, "seal": (_SEAL + _UNSEALED).decode()}
    table = pa.Table.from_pylist(list(rows), SCHEMA).replace_schema_metadata(metadata)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
    data = sink.getvalue().to_pybytes()
    write_whole(path, data.replace(_SEAL + _UNSEALED, _SEAL + hashlib.sha256(data).hexdigest().encode()))


def read(path: Path) -> RunFile:
    """Read and verify one run's file.

    Raises BadResults, in one sentence, if the file is damaged or its description does not hash to its name.
    """
    try:
        table = pq.read_table(pa.BufferReader(_intact(path)), page_checksum_verification=True)
    except (pa.ArrowException, ValueError) as error:
        raise BadResults(path, f"is damaged ({_first_line(error)})") from error
    facts = {k.decode(): v.decode() for k, v in (table.schema.metadata or {}).items()}
    description = facts.pop("run", None)
    if description is None:
        raise BadResults(path, "does not describe its run")
    if run_id_of(description) != path.stem:
        raise BadResults(path, f"describes run {run_id_of(description)}, which is not its name")
    missing = [c for c in COLUMNS if c.name not in table.column_names]
    if any(c.before is None for c in missing):
        raise BadResults(path, f"lacks the columns {', '.join(c.name for c in missing)}")
    for c in missing:
        table = table.append_column(c.name, pa.array([c.before] * len(table), c.type))
    facts.pop("seal", None)
    return RunFile(table.select(SCHEMA.names).to_pandas(), description, facts)


def state_of(path: Path) -> tuple[str, str]:
    """State of a run, and why, by its file alone: one of STATES, "pending" without a file, "damaged" if unreadable."""
    try:
        metadata = pq.read_schema(pa.BufferReader(_intact(path))).metadata or {}
    except FileNotFoundError:
        return "pending", ""
    except (pa.ArrowException, ValueError) as error:
        return "damaged", _first_line(error)
    if run_id_of(metadata.get(b"run", b"").decode()) != path.stem:
        return "damaged", "its description does not hash to its name"
    return metadata.get(b"status", b"running").decode(), metadata.get(b"why", b"").decode()


def as_rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of a frame as they were written; a missing number is None."""
    return pa.Table.from_pandas(frame, SCHEMA, preserve_index=False).to_pylist()


def load(results: Path, sweeps: Iterable[str] | None = None) -> Results:
    """Read every run of a results folder (or of the named sweeps).

    A file that cannot be believed is left where it is and named in ``bad``; all others are read.
    """
    folder = results / "runs"
    names = sorted(p.name for p in folder.iterdir() if p.is_dir()) if sweeps is None and folder.is_dir() else sweeps
    frames, runs, bad = [], [], []
    for sweep in names or ():
        for path in sorted((folder / sweep).glob("*.parquet")):
            try:
                file = read(path)
            except BadResults as error:
                bad.append(str(error))
                continue
            frames.append(file.rows)
            runs.append({"sweep": sweep, "run_id": path.stem, **file.facts, "run": file.description})
    rows = pd.concat(frames, ignore_index=True) if frames else SCHEMA.empty_table().to_pandas()
    return Results(rows, pd.DataFrame(runs, columns=None if runs else ["sweep", "run_id", "status", "run"]), tuple(bad))


def data_dictionary() -> str:
    """The results folder's README, generated from the schema."""
    lines = [
        "# Results: the data dictionary",
        "",
        "One Parquet file a run at `runs/<sweep>/<run_id>.parquet`; one row a measured number. Generated from the",
        "schema by `python -m ecgscale.records`. Read it all with pandas (`pd.read_parquet('results/runs')`) or",
        "with `ecgscale.records.load`, which also verifies checksums and identity.",
        "",
        "| column | type | unit | meaning |",
        "|---|---|---|---|",
        *(f"| `{c.name}` | {c.type} | {c.unit} | {c.meaning} |" for c in COLUMNS),
        "",
        f"File metadata: `run` (canonical JSON, its hash is the file's name), `status` ({', '.join(STATES)}), `why` it",
        "stopped, `corpus_digest`, `commit`, `versions`, `device`, `peak_memory_bytes`, `schema_version`.",
        "Losses are in nats. No patient or record id and no absolute path is ever stored.",
        "",
        "`exponents.parquet` (and `.md`) are fitted from these rows by `ecgscale fit`; figures by `ecgscale figures`.",
    ]
    return "\n".join(lines) + "\n"


def canonical(value: Any) -> str:
    """Canonical JSON: sorted keys, no spaces, no NaN; equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _intact(path: Path) -> bytes:
    """A file's bytes. Raises ValueError if any of them is not what was written; FileNotFoundError passes."""
    data = path.read_bytes()
    at = data.rfind(_SEAL) + len(_SEAL)
    sealed, unsealed = data[at : at + len(_UNSEALED)], data[:at] + _UNSEALED + data[at + len(_UNSEALED) :]
    if at < len(_SEAL) or hashlib.sha256(unsealed).hexdigest().encode() != sealed:
        raise ValueError("its bytes do not match its seal" if at >= len(_SEAL) else "it is not sealed, or cut short")
    return data


def _first_line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return text[0][:160] if text else type(error).__name__


if __name__ == "__main__":
    print(data_dictionary(), end="")
