"""Every file that a person may keep is whole or as it was: on a full disk, and whenever its writer is killed."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from ecgscale import records
from ecgscale.analysis import report
from ecgscale.analysis.table import build, query
from tests.faults import fill
from tests.paths import HOUSE
from tests.planted import planted_points, planted_table, write_runs
from tests.shell import Shell

VERBS = {
    "fit": ["fit", "--bootstrap", "0"],
    "figures": ["figures", "learning", "--format", "png,pdf"],
    "tables": ["tables", "s1", "--reference"],
    "report": ["report"],
}

# The real command, killed at its k-th step (a temporary file opened, brought to disk, renamed), each time in a process
# of its own. Fits are planted and the report draws no figure: they take the time.
KILLED = """
import json, os, signal, sys
import matplotlib.backends.backend_agg
import matplotlib.backends.backend_pdf

import ecgscale.analysis.figures.learning
import ecgscale.analysis.study.claims
import ecgscale.analysis.study.tables
from ecgscale import cli
from ecgscale.analysis import report
from ecgscale.analysis.table import build
from tests.planted import planted_table

build.exponents = lambda *_, **__: planted_table()
report._figures = lambda *_: ([], [])
folder = sys.argv[1]
os.chdir(folder)

def at_step(k, arguments):
    steps = 0
    def step():
        nonlocal steps
        steps += 1
        if steps == k:
            os.kill(os.getpid(), signal.SIGKILL)
    def hook(event, details):
        if event in ("open", "os.rename") and str(details[0]).endswith(".partial"):
            step()
    fsync = os.fsync
    def synced(descriptor):
        step()
        fsync(descriptor)
    sys.addaudithook(hook)
    os.fsync = synced
    sys.argv = ["ecgscale", *arguments]
    cli.main()

for line in sys.stdin:
    k, arguments = json.loads(line)
    child = os.fork()
    if not child:
        sys.stdin = open(os.devnull)
        os.dup2(2, 1)
        at_step(k, arguments)
    print(os.waitpid(child, 0)[1], flush=True)
"""


@pytest.fixture
def results(tmp_path: Path) -> Path:
    folder = tmp_path / "results"
    write_runs(folder, planted_points(("resnet-sl",)))
    return folder


def kept(results: Path) -> dict[str, bytes]:
    """Everything but the runs, by name."""
    files = (path for path in results.rglob("*") if path.is_file() and "runs" not in path.parts)
    return {str(path.relative_to(results)): path.read_bytes() for path in files}


def opens(path: Path) -> None:
    """Raises if a file is not whole."""
    match path.suffix:
        case ".png":
            Image.open(path).load()
        case ".pdf":
            assert path.read_bytes().startswith(b"%PDF-")
            assert path.read_bytes().rstrip().endswith(b"%%EOF")
        case ".svg":
            assert path.read_text().rstrip().endswith("</svg>")
        case ".html":
            assert path.read_text().rstrip().endswith("</html>")
        case ".csv":
            assert len(pd.read_csv(path))
        case ".parquet":
            assert len(query.read(path.parent))
        case ".md" | ".tex":
            assert path.read_text().endswith("\n")
        case other:
            raise AssertionError(other)


@pytest.fixture
def killer(tmp_path: Path) -> Iterator[Callable[[int, list[str]], int]]:
    program = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=HOUSE,
    )
    assert program.stdin is not None
    answers = program.stdout
    assert answers is not None

    def run(k: int, arguments: list[str]) -> int:
        print(json.dumps([k, arguments]), file=program.stdin, flush=True)
        return int(answers.readline())

    yield run
    program.stdin.close()
    program.wait()


@pytest.mark.slow
def test_whenever_a_command_is_killed_its_files_are_whole(results: Path, killer: Callable[..., int]) -> None:
    """Killed as it opens, brings to disk and renames a file, each file is what it was or will be; the rest is swept."""
    for verb, arguments in VERBS.items():
        before = set(kept(results))
        assert killer(0, arguments) == 0
        after = {name: content for name, content in kept(results).items() if name not in before}
        assert len(after) >= {"fit": 2, "figures": 3, "tables": 3, "report": 1}[verb]
        for name in after:
            opens(results / name)
            (results / name).write_bytes(b"as it was")
        for k in {"fit": (7,), "figures": (2,)}.get(verb, (3,)):  # four steps a file
            assert killer(k, arguments) == 9
            found = kept(results)
            whole = {name: found[name] for name in after}
            assert all(whole[name] in (b"as it was", after[name]) for name in after), (verb, k)
            left = [name for name in found if name not in before | set(after)]
            assert len(left) <= 1, (verb, k)
            assert all(name.endswith(".partial") for name in left)
        assert killer(0, arguments) == 0
        assert kept(results).keys() == before | set(after)
        assert {name: kept(results)[name] for name in after} == after


@pytest.mark.slow
def test_on_a_full_disk_a_command_says_so_and_leaves_what_was_there(
    disk_of: Callable[[str], Path], results: Path, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "exponents", lambda *_, **__: planted_table())
    monkeypatch.setattr(report, "_figures", lambda *_: ([], []))
    disk = disk_of("8m")
    (disk / "runs").mkdir()
    for path in (results / "runs").rglob("*.parquet"):
        records.write_whole(disk / path.relative_to(results), path.read_bytes())
    ballast = disk / "ballast"
    for verb, arguments in VERBS.items():
        command = [*arguments, "--results", str(disk)]
        before = kept(disk)
        with pytest.raises(OSError, match="No space left"):
            fill(ballast)
        full = shell.type(*command)
        assert full.returncode == 1, verb
        said = full.stderr.strip().splitlines()[-1]
        assert said.startswith("ecgscale: the disk is full"), (verb, full.stderr)
        assert "Traceback" not in full.stderr
        assert {name: content for name, content in kept(disk).items() if name != "ballast"} == before
        ballast.unlink()
        assert shell.type(*command).returncode == 0, verb
        assert len(kept(disk)) > len(before)
        for name in kept(disk):
            opens(disk / name)
