"""What is printed moves no cursor, colours nothing and forges no row, whoever wrote the words."""

import numpy as np
import pytest

from ecgscale.cli import terminal
from ecgscale.data.recording import LEADS
from tests import layouts
from tests.shell import Shell

ESC = "\x1b[2J\x1b]0;owned\x07\x9b31mred\rover\x08\x7f"


@pytest.mark.parametrize("write", [terminal.say, terminal.show, lambda text: terminal.table(["a"], [(text,)])])
def test_no_control_code_is_printed(write, capfd: pytest.CaptureFixture[str]) -> None:  # type: ignore[no-untyped-def]
    write(f"before{ESC}after")
    said = "".join(capfd.readouterr())
    assert "before[2J]0;owned31mredoverafter" in said.replace("\n", "")
    assert not set(said) & {"\x1b", "\x07", "\x9b", "\r", "\x08", "\x7f"}


def test_a_cell_stays_in_its_row(capfd: pytest.CaptureFixture[str]) -> None:
    terminal.table(["name", "n"], [("one\ntwo\t3", 4)])
    assert capfd.readouterr().out == "name\tn\none two 3\t4\n"


def test_brackets_in_a_cell_are_letters(capfd: pytest.CaptureFixture[str]) -> None:
    from rich.console import Console

    Console(width=80, force_terminal=False).print(terminal._drawn(["[red]a"], [("[/b] [bold]x",)]))
    assert "[/b] [bold]x" in capfd.readouterr().out


def test_words_of_a_header_reach_no_terminal(tmp_path) -> None:  # type: ignore[no-untyped-def]
    """A lead, a unit and a comment with codes in them: the reasons are printed, and stored in the manifest."""
    layouts.ptbxl(tmp_path / "raw")
    for i, (old, new) in enumerate([("/mV", f"/{ESC}mV"), (" V6", f" V6{ESC}"), (" I\n", f" {ESC}\n")]):
        path = tmp_path / "raw" / f"records500/00000/{i + 1:05d}_hr.hea"
        assert old in path.read_text()
        path.write_bytes(path.read_text().replace(old, new).encode())
    layouts.wfdb_record(
        tmp_path / "raw/records500/00000",
        "00004_hr",
        np.nan_to_num(layouts.signals(1, 500)[0]),
        500,
        [name.upper() for name in LEADS],
        comments=[f"Dx: {ESC}"],
    )
    (tmp_path / "shell").mkdir()
    shell = Shell(tmp_path / "shell", tmp_path / "home")
    for verb in (["prepare", "ptbxl", "--raw", str(tmp_path / "raw"), "--workers", "1"], ["card", "ptbxl"], ["list"]):
        done = shell.type("data", *verb, "--home", str(tmp_path / "home"))
        assert done.returncode == 0, done.stderr
        assert not set(done.stdout + done.stderr) & {"\x1b", "\x07", "\x9b", "\x08", "\x7f"}
