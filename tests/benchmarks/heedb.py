"""P17: the index of a table as long as HEEDB's: 0.5 and 1.5 million generated rows, brought to its 10.6 million."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ecgscale.data.readers import heedb
from tests.benchmarks import Measurement

FEW, MANY = 500_000, 1_500_000  # fewer do not fill the pieces that a table is read in
GIGABYTES, MINUTES = 4.0, 3.0  # of the whole dataset: what is allowed

# In a process of its own, whose peak is then the index' alone; the files of the records count as there.
INDEXED = """
import json, resource, sys, time
from pathlib import Path
from ecgscale.data import columns
from ecgscale.data.readers import heedb

there = columns.os.path.isfile
columns.os.path.isfile = lambda name: name.endswith(".hea") or there(name)
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
heedb.index(Path(sys.argv[1]))
before, began = peak(), time.process_time()
heedb.index(Path(sys.argv[2]))
print(json.dumps([before, peak(), time.process_time() - began]))
"""


def measure() -> Iterator[Measurement]:
    n_whole = heedb.DATASET.card.n_records
    with tempfile.TemporaryDirectory() as folder:
        few, many = Path(folder) / "few", Path(folder) / "many"
        written(few, FEW)
        written(many, MANY)
        program = [sys.executable, "-c", INDEXED, str(few), str(many)]
        said = subprocess.run(program, check=True, capture_output=True, text=True).stdout
    before, after, seconds = json.loads(said)
    gigabytes = (after + (after - before) / (MANY - FEW) * (n_whole - MANY)) / 1e9
    minutes = seconds / MANY * n_whole / 60
    note = f"{MANY:,} rows: {after / 1e9:.2g} GB and {seconds:.3g} s of CPU"
    yield Measurement(
        "index of 10.6 M rows, memory (P17)", f"{GIGABYTES:g} GB", f"{gigabytes:.3g} GB", GIGABYTES / gigabytes, 1, note
    )
    yield Measurement(
        "index of 10.6 M rows, CPU time (P17)", f"{MINUTES:g} min", f"{minutes:.3g} min", MINUTES / minutes, 1, note
    )


def written(raw: Path, n: int) -> None:
    """Demographics and interpretations of as many records: about six of a patient, of 1 to 9 statements each."""
    draw = np.random.default_rng(0)
    (raw / "Metadata").mkdir(parents=True)
    people = draw.integers(10_000_000, 10_000_000 + round(0.175 * n) + 1, n)
    n_said = draw.integers(1, 10, n)
    codes = draw.zipf(1.3, int(n_said.sum())) % 700 + 1
    ends = np.cumsum(n_said)
    with (
        open(raw / "Metadata" / "demographics_ECG.csv", "w") as table,
        open(raw / "Metadata" / "ECG_Interpretations.psv", "w") as said,
    ):
        table.write("FileName,BDSPPatientID,SexDSC\n")
        said.write("file_source|diagnostic_codes\n")
        for i in range(n):
            name = f"de_{i:08d}"
            table.write(f"WFDB/S000{1 + i % 2}/{1985 + i % 38}/{1 + i % 12:02d}/{name}.hea,{people[i]},Female\n")
            said.write(f"{name}|{','.join(map(str, codes[ends[i] - n_said[i] : ends[i]]))}\n")
