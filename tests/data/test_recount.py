"""What verify counts again: not by the reader, so that what the reader loses is found."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ecgscale import data
from ecgscale.data import folders, preparation, recount, tables
from ecgscale.data.readers import challenge
from tests import layouts
from tests.shell import Shell


def counted(name: str, raw: Path) -> pd.DataFrame:
    """Checks of the count of a raw folder, as if all that its index uses were in one split."""
    index = preparation.indexed(data.DATASETS[name], raw)
    sums = preparation._sums(index, np.zeros(len(index.where), dtype=np.uint8), 0)
    patients = np.unique(index.patient, return_inverse=True)[1]
    rows = recount.against_table(name, raw, sums, {"patient": patients})
    return pd.DataFrame(rows, columns=["item", "expected", "found", "ok"])


@pytest.mark.parametrize("name", layouts.LAYOUTS)
def test_a_sound_folder_counts_alike(name: str, tmp_path: Path) -> None:
    layouts.LAYOUTS[name](tmp_path)
    checks = counted(name, tmp_path)
    assert list(checks["item"].str.partition(", ")[2])[:2] == ["counted again", "each used, refused or absent"]
    assert checks["ok"].all(), checks


def _loses_every_fifth(table: tables.Table) -> tables.Table:
    kept = [at for at in range(len(table.rows)) if at % 5 != 4]
    rows = table.rows.iloc[kept]
    return tables.Table(table.name, rows, len(rows), table.aside, table.first, table.notes)


def _makes_two_people_of_all(table: tables.Table) -> tables.Table:
    return table.having(patient_id=[str(9000 + i % 5) for i in range(len(table))])


@pytest.mark.parametrize(
    ("mistake", "item", "expected", "found"),
    [
        (_loses_every_fifth, "rows of exams.csv, counted again", "16", "20"),
        (_makes_two_people_of_all, "patients, counted again in the table", "10 to 10", "5"),
    ],
)
def test_a_mistake_of_the_reader_is_found(
    mistake: Callable[[tables.Table], tables.Table],
    item: str,
    expected: str,
    found: str,
    shell: Shell,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same mistake when the corpus is prepared and when it is verified; the command ends with 1."""
    layouts.code15(shell.folder / "raw", n=20)
    read = tables.read
    monkeypatch.setattr(tables, "read", lambda *args, **options: mistake(read(*args, **options)))
    home = ("--home", "own")
    assert shell.type("data", "prepare", "code15", "--raw", "raw", "--workers", "1", *home).returncode == 0
    told = shell.type("data", "verify", "code15", "--raw", "raw", *home)
    assert told.returncode == 1
    (line,) = [line for line in told.stdout.splitlines() if line.startswith(item)]
    assert [cell.strip() for cell in line.split("\t")][1:4] == [expected, found, "False"]


def test_a_folder_that_the_reader_does_not_see_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layouts.georgia(tmp_path / "raw")
    (tmp_path / "raw" / "training" / "georgia" / "g1").rename(tmp_path / "g1")
    (tmp_path / "raw" / "training" / "georgia" / "g1").symlink_to(tmp_path / "g1")
    (tmp_path / "raw" / "training" / "georgia" / "g2").symlink_to(tmp_path / "raw")
    walked = folders.walked
    monkeypatch.setattr(challenge, "walked", lambda *args: list(walked(*args))[:-2])
    checks = counted("georgia", tmp_path / "raw").set_index("item")
    assert not checks.loc["headers, counted again", "ok"]
    assert list(checks.loc["headers, counted again", ["expected", "found"]]) == ["6", "8"]


SPOILED: dict[str, Callable[[str], bytes]] = {
    "quoted newlines": lambda text: text.replace("exams_part0.hdf5", '"exams\n_part0.hdf5"', 2).encode(),
    "semicolons": lambda text: text.replace(",", ";").encode(),
    "tabs and quoted newlines": lambda text: text.replace(",", "\t").replace("500\t", '"500\n"\t').encode(),
    "UTF-16": lambda text: text.encode("utf-16"),
    "UTF-16 without a mark": lambda text: text.encode("utf-16-be"),
    "BOM, what Excel says": lambda text: ("sep=,\n" + text).encode("utf-8-sig"),
    "blank lines": lambda text: ("\n\n" + text.replace("\n", "\n\n", 3) + "\n\n").encode(),
    "an open quote": lambda text: text.replace("501,", '"501,', 1).encode(),
    "Latin-1, CR LF": lambda text: text.replace("\n", "\r\n").replace("50,", "5ã,").encode("latin-1"),
    "the header again": lambda text: (text + text.partition("\n")[0] + "\n").encode(),
}


@pytest.mark.parametrize("how", SPOILED)
def test_what_people_do_to_tables_changes_no_count(how: str, tmp_path: Path) -> None:
    layouts.code15(tmp_path / "raw")
    path = tmp_path / "raw" / "exams.csv"
    path.write_bytes(SPOILED[how](path.read_text()))
    checks = counted("code15", tmp_path / "raw")
    assert checks["ok"].all(), checks
