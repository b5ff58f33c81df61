"""Results files: whole or not there, and never believed when they are damaged."""

import os
import random
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from ecgscale import records

DESCRIPTION = '{"architecture":{"depth":3,"kind":"resnet","width":24}}'
RUN_ID = records.run_id_of(DESCRIPTION)


def row(**changes: Any) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(records.SCHEMA.names)
    return row | {"sweep": "s", "run_id": RUN_ID, "step": 1, "metric": "loss", "value": 0.5, "target": "t"} | changes


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = records.path_of(tmp_path, "s", RUN_ID)
    records.write(path, [row(step=s, value=1 / (s + 1)) for s in range(200)], DESCRIPTION, {"status": "done"})
    return path


def test_round_trip(file: Path) -> None:
    read = records.read(file)
    assert read.status == "done"
    assert read.description == DESCRIPTION
    assert list(read.rows["step"]) == list(range(200))
    assert records.as_rows(read.rows)[3] == row(step=3, value=0.25)


def test_nothing_but_the_file_is_left_behind(file: Path) -> None:
    assert [p.name for p in file.parent.iterdir()] == [file.name]


def test_a_failed_write_leaves_the_old_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = file.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        records.write(file, [row()], DESCRIPTION, {"status": "failed"})
    assert file.read_bytes() == before
    assert [p.name for p in file.parent.iterdir()] == [file.name]


def test_no_flipped_bit_goes_unnoticed(file: Path) -> None:
    original = file.read_bytes()
    before = records.read(file)
    draw = random.Random(0)
    silent = 0
    for _ in range(200):
        damaged = bytearray(original)
        damaged[draw.randrange(len(damaged))] ^= 1 << draw.randrange(8)
        file.write_bytes(damaged)
        try:
            after = records.read(file)
        except records.BadResults:
            continue
        silent += not (after.rows.equals(before.rows) and after.description == before.description)
    assert silent == 0


@pytest.mark.parametrize("keep", [0, 4, 100, -8])
def test_a_truncated_file_is_named_and_the_rest_is_read(file: Path, keep: int) -> None:
    other = '{"seed":1}'
    records.write(records.path_of(file.parents[2], "s", records.run_id_of(other)), [row()], other, {"status": "done"})
    file.write_bytes(file.read_bytes()[:keep])
    loaded = records.load(file.parents[2])
    assert len(loaded.bad) == 1
    assert f"s/{file.name} is damaged" in loaded.bad[0]
    assert len(loaded.rows) == 1
    assert records.state_of(file)[0] == "damaged"


def test_a_description_that_is_not_the_name_is_refused(file: Path) -> None:
    records.write(file, [row()], '{"seed":2}', {"status": "done"})
    with pytest.raises(records.BadResults, match="which is not its name"):
        records.read(file)
    assert records.state_of(file)[0] == "damaged"


def test_states(file: Path) -> None:
    assert records.state_of(file) == ("done", "")
    assert records.state_of(file.with_name("none.parquet")) == ("pending", "")


def test_an_empty_folder_has_no_rows(tmp_path: Path) -> None:
    loaded = records.load(tmp_path)
    assert isinstance(loaded.rows, pd.DataFrame)
    assert loaded.rows.empty
    assert loaded.bad == ()
