"""A corpus that is made on a disk with too little room: one sentence, no SIGBUS, and the same command goes on."""

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ecgscale import data
from ecgscale.cli.faults import told
from ecgscale.data import corpus, preparation, pseudonyms, simulate
from ecgscale.records import FULL
from tests import layouts
from tests.shell import Shell

_PAGE = 4096  # what a tmpfs counts in


def resized(disk: Path, n_bytes: int) -> None:
    subprocess.run(["mount", "-o", f"remount,size={n_bytes}", str(disk)], check=True)


def used(disk: Path) -> int:
    return shutil.disk_usage(disk).used


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "n_pages"), [("1", 1), ("2", 8)])
def test_a_corpus_is_prepared_page_by_page(
    workers: str, n_pages: int, disk_of: Callable[[str], Path], shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it is that has no room (an array, a marker, the secret, labels, the manifest), it is said.

    The disk grows after each failure, from a little less than the arrays need.
    """
    layouts.ludb(shell.folder / "raw", n=12)
    monkeypatch.setattr(preparation, "_CHUNK", 4)
    sound = data.prepare("ludb", shell.folder / "raw", shell.folder / "sound", workers=1)
    disk = disk_of("4k")
    command = ("data", "prepare", "ludb", "--raw", "raw", "--home", str(disk), "--workers", workers)
    said = set[str]()
    for size in range(44 * _PAGE, 400 * _PAGE, n_pages * _PAGE):
        resized(disk, size)
        done = shell.type(*command)
        if done.returncode == 0:
            break
        sentence = " ".join(done.stderr.split()).rpartition("ecgscale: ")[2]
        assert done.returncode == 1, sentence
        assert re.match(r"the disk is full|ludb needs [\d.e-]+ GB and the disk of home has", sentence), sentence
        said.add(sentence.partition(" (")[0][:20])
        assert not corpus.is_prepared(disk, "ludb")
        assert not [file for file in disk.rglob("*.partial") if file.is_file()]
    assert len(said) == 2  # before any work, and in the middle of it
    prepared = corpus.read(disk, "ludb")
    assert np.array_equal(prepared.signal, sound.signal)
    assert np.array_equal(prepared.labels, sound.labels)
    assert [path.name for path in (disk / "corpora").iterdir()] == ["ludb"]
    assert len((disk / pseudonyms.FILE).read_text()) == 65


@pytest.mark.slow
def test_a_simulated_corpus_gives_its_room_back(disk_of: Callable[[str], Path], tmp_path: Path) -> None:
    sound = simulate.simulated(tmp_path / "sound", 40)
    disk = disk_of("4k")
    failures: list[OSError] = []
    for n_pages in range(1, 1000, 5):
        resized(disk, n_pages * _PAGE)
        try:
            made = data.open_corpus("simulated-40", disk)
            break
        except OSError as error:
            failures.append(error.with_traceback(None))
        assert used(disk) == 0
    assert {error.errno for error in failures} <= set(FULL)
    assert all(told(error, disk)[0].startswith("the disk is full") for error in failures)
    assert len(failures) > 20
    assert made.manifest == sound.manifest
    assert [path.name for path in (disk / "corpora").iterdir()] == [made.name]
