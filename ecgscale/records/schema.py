"""The one schema that training writes and analysis reads: what each column means, and the identity of a run."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

SCHEMA_VERSION = "1"
RUN_ID_DIGITS = 12
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
    Column("paradigm", pa.string(), "", "sl (supervised), ssl (self-supervised) or hybrid (both)"),
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
        "loss (nats; of labels that are numbers, mean squared error over their variance in train), auroc (macro), "
        "f1 (macro, thresholds from val), r2 and mae (of numbers; the latter in their unit, see `numbers` below), "
        "prevalence_loss (predicting each label's train rate, or a number's train mean); convex_loss, convex_auroc, "
        "convex_f1, convex_r2, convex_mae (of the convex probe)",
    ),
    Column("value", pa.float64(), "", "the measured number"),
    Column("n_evaluated", pa.int64(), "recordings", "recordings that entered the number"),
    Column(
        "n_classes_scored",
        pa.int64(),
        "",
        "labels with both outcomes, or numbers that differ; the others are left out; null if not a mean of labels",
    ),
    Column("seconds", pa.float64(), "s", "training time of the run until this step, evaluation excluded"),
)
SCHEMA = pa.schema([pa.field(c.name, c.type) for c in COLUMNS])


def run_id_of(description: str) -> str:
    """The identity of a run: hash of its canonical JSON."""
    return hashlib.sha256(description.encode()).hexdigest()[:RUN_ID_DIGITS]


def canonical(value: Any) -> str:
    """Canonical JSON: sorted keys, no spaces, no NaN; equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


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
        "`numbers`: of each target with labels that are numbers, their units.",
        "Losses are in nats, those of numbers in units of their variance.",
        "No patient or record id and no absolute path is ever stored.",
        "",
        "`exponents.parquet` (and `.md`) are fitted from these rows by `ecgscale fit`; figures by `ecgscale figures`.",
    ]
    return "\n".join(lines) + "\n"
