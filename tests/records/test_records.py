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


def journal(folder: Path, n: int = 5) -> records.Journal:
    """A run in the middle of its evaluations."""
    written = records.Journal(records.path_of(folder, "s", RUN_ID), DESCRIPTION)
    written.begin([row(step=0)], {"device": "CPU"})
    for step in range(1, n):
        written.add([row(step=step, value=1 / (step + 1))])
    return written


def test_a_journal_is_the_run_until_its_file_is(tmp_path: Path) -> None:
    written = journal(tmp_path)
    found = records.read(written.path)
    assert (found.status, list(found.rows["step"]), found.facts["device"]) == ("running", [0, 1, 2, 3, 4], "CPU")
    assert records.state_of(written.path) == ("running", "")
    assert len(records.load(tmp_path).rows) == 5
    written.end({"status": "done", "why": "all steps taken"})
    assert records.state_of(written.path) == ("done", "all steps taken")
    assert [p.name for p in written.path.parent.iterdir()] == [written.path.name]
    again = records.Journal(written.path, DESCRIPTION)  # tried once more, later
    again.begin([], {})
    assert records.state_of(written.path)[0] == "running"


def test_a_journal_that_was_cut_off_is_read_until_there(tmp_path: Path) -> None:
    written = journal(tmp_path)
    whole = written.file.read_bytes()
    last = whole.rstrip(b"\n").rfind(b"\n") + 1
    for at in range(last, len(whole) - 1, 40):
        written.file.write_bytes(whole[:at])
        assert list(records.read(written.path).rows["step"]) == [0, 1, 2, 3]


def test_no_flipped_bit_in_a_journal_goes_unnoticed(tmp_path: Path) -> None:
    """It is named, or costs the last evaluation, which is then measured again."""
    written = journal(tmp_path)
    original, draw = written.file.read_bytes(), random.Random(0)
    before, silent = records.read(written.path), 0
    for _ in range(200):
        damaged = bytearray(original)
        damaged[draw.randrange(len(damaged))] ^= 1 << draw.randrange(8)
        written.file.write_bytes(damaged)
        try:
            after = records.read(written.path)
        except records.BadResults:
            continue
        shorter = before.rows.iloc[: len(after.rows)]
        silent += not (len(after.rows) >= 4 and after.rows.equals(shorter) and after.description == before.description)
    assert silent == 0


def test_what_does_not_fit_on_the_disk_leaves_no_torn_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written, write, n_written = journal(tmp_path), os.write, 0
    before = written.file.read_bytes()

    def full(descriptor: int, data: bytes) -> int:
        nonlocal n_written
        n_written += 1
        if n_written > 1:
            raise OSError(28, "No space left on device")
        return write(descriptor, data[:40])

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space"):
        written.add([row(step=9)])
    assert written.file.read_bytes() == before


def many(folder: Path, n: int) -> list[Path]:
    paths = []
    for number in range(n):
        description = f'{{"seed":{number}}}'
        path = records.path_of(folder, "s", records.run_id_of(description))
        records.write(path, [row(step=s, value=number + s) for s in range(3)], description, {"status": "done"})
        paths.append(path)
    return paths


def test_compacted_rows_are_the_files_rows_whatever_happens_to_the_files(tmp_path: Path) -> None:
    paths = many(tmp_path, 5)

    def same_as_files() -> None:
        loaded = records.load(tmp_path)
        compacted = tmp_path / "compacted" / "s.parquet"
        compacted.rename(tmp_path / "aside")
        truth = records.load(tmp_path)
        (tmp_path / "aside").rename(compacted)
        keys = ["value", "step"]
        pd.testing.assert_frame_equal(
            loaded.rows.sort_values(keys, ignore_index=True), truth.rows.sort_values(keys, ignore_index=True)
        )
        assert sorted(loaded.runs["run_id"]) == sorted(truth.runs["run_id"])
        assert loaded.bad == truth.bad

    records.compact(tmp_path, "s")
    same_as_files()
    records.write(paths[0], [row(step=9, value=99)], '{"seed":0}', {"status": "done"})  # one is done anew,
    same_as_files()
    paths[1].unlink()  # one is taken away,
    same_as_files()
    paths[2].write_bytes(paths[2].read_bytes()[:-1])  # one is damaged,
    same_as_files()
    assert len(records.load(tmp_path).bad) == 1
    many(tmp_path, 7)  # and some are new
    same_as_files()
    (tmp_path / "compacted" / "s.parquet").write_bytes(b"nonsense")
    same_as_files()


def test_named_columns_alone_are_read(tmp_path: Path) -> None:
    many(tmp_path, 3)
    for _ in range(2):
        rows = records.load(tmp_path, ["s"], ["metric", "value"]).rows
        assert list(rows.columns) == ["metric", "value"]
        assert len(rows) == 9
        assert rows["metric"].dtype == "category"
        records.compact(tmp_path, "s")
