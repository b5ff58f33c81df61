"""Rows that ship with the repository: whole, of the runs that their sweep defines, and of nobody's machine."""

import re

import pandas as pd
import pyarrow.parquet as pq
import pytest

from ecgscale import records
from ecgscale.spec.sweep import load
from tests.paths import HOUSE

RESULTS = HOUSE / "results"
SHIPPED = ("sample_study", "laboratory", "laboratory_tail", "architectures_sample")
ABSOLUTE = re.compile(r"""(?:^|["'\s=(\[])(/\w[\w.-]*/|[A-Z]:\\)""")


@pytest.mark.parametrize("name", SHIPPED)
def test_every_run_of_the_sweep_is_there_and_done(name: str) -> None:
    loaded = records.load(RESULTS, [name])
    assert not loaded.bad
    assert set(loaded.runs["run_id"]) == {run.run_id for run in load(name).runs}
    assert set(loaded.runs["status"]) == {"done"}


@pytest.mark.parametrize("name", SHIPPED)
def test_they_hold_no_path_of_the_machine_they_were_made_on(name: str) -> None:
    assert ABSOLUTE.search('{"home": "/home/me/x"}')
    files = sorted((RESULTS / "runs" / name).glob("*.parquet"))
    assert files
    for path in files:
        facts = {key.decode(): value.decode() for key, value in pq.read_schema(path).metadata.items()}
        facts = {k: v for k, v in facts.items() if k not in ("ARROW:schema", "pandas")}
        words = pd.read_parquet(path).select_dtypes(exclude="number").astype(str).to_numpy().ravel().tolist()
        found = [text for text in (*facts.values(), *words) if ABSOLUTE.search(text)]
        assert not found, path.name
