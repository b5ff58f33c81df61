"""The door: what nobody foresaw in any verb is one sentence, exit code 1, and a log that holds the traceback."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import typer

from ecgscale import leases
from ecgscale.cli import door, faults
from ecgscale.spec.sweep import load
from tests.paths import HOUSE
from tests.shell import Shell

PATIENT = "patient-9001"
# Faults that nobody foresees, and what the sentence says of each; in verbs that read raw data without an error's words.
FAULTS: dict[str, tuple[BaseException, str]] = {
    "memory": (MemoryError(), "there is not enough memory"),
    "key": (KeyError(PATIENT), f"KeyError: '{PATIENT}'"),
    "attribute": (AttributeError("'NoneType' object has no attribute 'x'"), "AttributeError"),
    "recursion": (RecursionError("maximum recursion depth exceeded"), "RecursionError"),
    "import": (ModuleNotFoundError("No module named 'torch'", name="torch"), "No module named 'torch'"),
    "damaged": (ValueError(f"Couldn't deserialize thrift: TProtocolException\nof {PATIENT}"), "Couldn't deserialize"),
    "input": (OSError(5, "Input/output error", "/mnt/somewhere/else/x.parquet"), "Input/output error: /mnt/somewhere"),
    "nameless": (OSError(5, "Input/output error"), "Input/output error"),
    "worded": (OSError("cannot identify this"), "OSError: cannot identify this"),
    "missing": (FileNotFoundError(2, "No such file or directory", "/mnt/else/x"), "No such file or directory"),
    "exists": (FileExistsError(17, "File exists", "/mnt/somewhere/else"), "File exists"),
    "lost": (
        leases.Lost("run 0123456789ab is held by another"),
        "run 0123456789ab is held by another; what is measured is",
    ),
    "exit": (SystemExit(0), "something called exit"),
    "failed": (RuntimeError("CUDA error: device-side assert triggered"), "RuntimeError: CUDA error"),
    "assertion": (AssertionError(), "AssertionError"),
}
OF_ONE = ["--configuration", "R-SL", "--target", "ludb-rhythm"]
NEEDED = {  # of several options one set that a verb cannot do without
    "codebook train": ["--sweep", "mine"],
    "predict": [*OF_ONE, "--n-params", "1", "--n-samples", "1"],
    "allocate": OF_ONE,
}
VALUES = {"sweep": "mine", "kind": "tensorboard", "run_id": "a", "configuration": "R-SL", "target": "ludb-rhythm"}


@cache
def commands() -> dict[str, Any]:
    """Every verb of the command tree, by what is typed for it."""

    def walk(command: Any, typed: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
        for name, below in getattr(command, "commands", {}).items():
            if hasattr(below, "commands"):
                yield from walk(below, (*typed, name))
            else:
                yield " ".join((*typed, name)), below

    return dict(walk(tree()))


@cache
def tree() -> Any:
    return typer.main.get_command(door.app)


def typed(verb: str) -> list[str]:
    """The verb with something for all that it cannot do without."""
    values: list[str] = []
    for parameter in commands()[verb].params:
        if parameter.required:
            options = parameter.opts if parameter.param_type_name == "option" else []
            value = "sweeps/mine.py" if verb == "check" else VALUES.get(parameter.name, "1")
            values += [*options[:1], value]
    return [*verb.split(), *values, *NEEDED.get(verb, ())]


def in_a_library(fault: BaseException) -> Any:
    """A verb's body that fails in the depths of a library: no line of the house raises it."""

    def body(*_: object, **__: object) -> None:
        raise fault

    return body


@pytest.fixture
def apart(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """A shell with a home of its own, and the tree of verbs made once."""
    monkeypatch.setattr(door, "app", tree())
    shell.environment["ECGSCALE_HOME"] = str(shell.folder / "home")
    return shell


def test_the_tree_is_that_of_the_help(apart: Shell) -> None:
    assert len(commands()) >= 30
    assert {"launch", "data prepare", "codebook train", "weights import", "demo"} <= set(commands())


@pytest.mark.parametrize("fault", FAULTS)
def test_what_nobody_foresaw_is_a_sentence_and_a_log_in_every_verb(
    apart: Shell, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for verb, command in commands().items():
        error, words = FAULTS[fault]
        error.__traceback__ = error.__context__ = None
        with monkeypatch.context() as patched:
            patched.setattr(command, "callback", in_a_library(error))
            ended = apart.type(*typed(verb))
        assert ended.returncode == 1, (verb, ended.stderr)
        assert ended.stdout == "", verb
        (sentence,) = ended.stderr.splitlines()
        assert "Traceback" not in sentence, verb
        kept = log_named(sentence, apart)
        assert kept.startswith(f"ecgscale {verb.split()[0]}\n"), verb
        assert "Traceback (most recent call last)" in kept, verb
        assert type(error).__name__ in kept, verb
        nowhere_and_nobody(kept, apart, of_patients=verb.startswith("data "))
        if verb.startswith("data "):
            assert PATIENT not in sentence, verb
        else:
            assert words in sentence, verb


def log_named(sentence: str, shell: Shell) -> str:
    """What is in the log that a sentence names."""
    found = re.search(r"; how it came to this is in (\S+\.log)$", sentence)
    assert found, sentence
    file = shell.folder / found[1]
    assert file.is_file(), sentence
    return file.read_text()


def nowhere_and_nobody(log: str, shell: Shell, of_patients: bool = False) -> None:
    """No absolute path in a log, and in one of a verb that reads raw data nobody's name."""
    for place in (shell.folder, shell.home, HOUSE, Path.home(), "/mnt"):
        assert f"{place}/" not in log
    assert not re.search(r"""["'\s]/\w+/""", log)
    if of_patients:
        assert PATIENT not in log


class _Planted(KeyError):
    """The fault that is planted where a verb first enters another room."""


@pytest.mark.parametrize("verb", commands())
def test_a_fault_within_the_rooms_that_a_verb_calls_is_not_swallowed(apart: Shell, verb: str) -> None:
    """The verb's own body runs until it calls a function of another room than cli; there the fault is raised."""
    planted: list[str] = []
    (apart.folder / "results" / "runs" / "mine").mkdir(parents=True)
    rooms = tuple(f"{HOUSE / room}{os.sep}" for room in ("ecgscale", "analysis"))
    spared = tuple(str(HOUSE / "ecgscale" / name) for name in (f"cli{os.sep}", "phrases.py", "redact.py"))

    def plant(frame: Any, event: str, _: object) -> None:
        code = frame.f_code
        if event == "call" and not planted and code.co_filename.startswith(rooms):
            if code.co_filename.startswith(spared) or code.co_name == "<module>" or not _is_called_by_a_verb(frame):
                return
            planted.append(code.co_name)
            sys.setprofile(None)
            raise _Planted(PATIENT)

    sys.setprofile(plant)
    try:
        ended = apart.type(*typed(verb))
    finally:
        sys.setprofile(None)
    if not planted:
        assert verb == "cluster"  # which calls no other room
        return
    assert ended.returncode == 1, (verb, planted, ended.stderr)
    sentence = ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr
    kept = log_named(sentence, apart)
    assert "_Planted" in kept
    nowhere_and_nobody(kept, apart, of_patients=verb.startswith("data "))


def _is_called_by_a_verb(frame: Any) -> bool:
    """Whether a call stems from a function of cli, and not from the import of a module."""
    caller = frame.f_back
    return caller is not None and caller.f_code.co_filename.startswith(f"{HOUSE / 'ecgscale' / 'cli'}{os.sep}")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["exponents", "--results", "sweeps/mine.py"], "sweeps/mine.py is a file, and has to be a folder"),
        (["exponents", "--results", "sweeps/mine.py/x"], "sweeps/mine.py is a file, and has to be a folder"),
        (["data", "list", "--home", "sweeps/mine.py/x/y"], "sweeps/mine.py is a file, and has to be a folder"),
        (["codebook", "import", "nowhere.ckpt"], "nowhere.ckpt"),
        (["weights", "import", "nowhere.ckpt"], "nowhere.ckpt"),
        (["fit", "--points", "nowhere.csv"], "nowhere.csv"),
        (["launch", "mine", "--address", "somewhere"], "--address somewhere: it has to be HOST:PORT, or auto"),
        (
            ["launch", "mine", "--address", "ray-head:70000"],
            "--address ray-head:70000: it has to be HOST:PORT, or auto",
        ),
    ],
)
def test_what_people_typed_is_their_mistake_and_needs_no_log(shell: Shell, arguments: list[str], sentence: str) -> None:
    ended = shell.type(*arguments)
    assert ended.returncode == 2, ended.stderr
    assert sentence in ended.stderr.splitlines()[-1]
    assert ".log" not in ended.stderr


def test_a_file_in_the_way_of_results_is_named_and_needs_no_log(apart: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    (apart.folder / "results").mkdir()
    (apart.folder / "results" / "figures").touch()
    monkeypatch.setattr(commands()["figures"], "callback", lambda **_: Path("results/figures").mkdir(exist_ok=True))
    ended = apart.type("figures")
    assert ended.returncode == 2
    assert ended.stderr == "ecgscale: results/figures is a file, and has to be a folder\n"


def test_a_line_of_the_house_that_fails_without_saying_so_is_unforeseen(tmp_path: Path) -> None:
    """An error that the interpreter raises at a line of ours is no sentence of ours."""
    (tmp_path / "a.b.lease").touch()
    with pytest.raises(ValueError, match="invalid literal") as interpreters:
        leases.Claims(tmp_path, "launch").held("a")
    assert not faults._is_ours(interpreters.value)
    with pytest.raises(FileNotFoundError, match="no results folder") as ours:
        door.existing(Path("nowhere"))
    assert faults._is_ours(ours.value)


@pytest.mark.parametrize(
    ("fault", "code", "said"),
    [
        (KeyboardInterrupt(), 130, ""),
        (BrokenPipeError(32, "Broken pipe"), 0, ""),
        (OSError(28, "No space left on device", "x"), 1, "ecgscale: the disk is full (x); make room, then the same"),
        (door.Refused("no"), 3, "ecgscale: refused: no\n"),
        (PermissionError(13, "Permission denied", "results/x"), 1, "ecgscale: Permission denied: results/x\n"),
    ],
)
def test_what_has_a_code_of_its_own_keeps_it(
    apart: Shell, fault: BaseException, code: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands()["status"], "callback", in_a_library(fault))
    monkeypatch.setattr(door, "_hush", lambda: None)  # it would silence the tests
    ended = apart.type("status")
    assert ended.returncode == code
    assert ended.stderr.startswith(said)
    assert "Traceback" not in ended.stderr
    assert bool(said) == bool(ended.stderr)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_verb_with_its_code_and_no_traceback(shell: Shell, number: signal.Signals) -> None:
    """A shell says 130 and 143 of a command that a signal has ended, or that says so itself."""
    (shell.folder / "results").mkdir()
    program = "import os, time; from ecgscale import cli; from ecgscale.cli import door\n"
    program += "@door.app.command()\ndef wait() -> None:\n    print('waits', flush=True); time.sleep(60)\ncli.main()"
    verb = subprocess.Popen(
        [sys.executable, "-c", program, "wait"],
        cwd=shell.folder,
        env=shell.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),  # whoever runs the tests may ignore it
    )
    assert verb.stdout is not None
    assert verb.stdout.readline() == "waits\n"
    verb.send_signal(number)
    _, said = verb.communicate(timeout=30)
    assert verb.returncode in (128 + number, -number)
    assert said.strip() == ""


@pytest.mark.parametrize(
    ("redirected", "code"),
    [
        ("cluster readme | true", 0),  # who reads has seen enough
        ("cluster readme > /dev/full", 1),
        ("cluster nope 2> /dev/full", 2),
        ("cluster nope 2>&-", 2),
        ("cluster readme >&-", 0),
    ],
)
def test_streams_that_are_closed_or_full_change_no_code(shell: Shell, redirected: str, code: int) -> None:
    command = f"set -o pipefail; {sys.executable} -m ecgscale {redirected}"
    ended = subprocess.run(
        ["bash", "-c", command], cwd=shell.folder, env=shell.environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == code
    assert "Traceback" not in ended.stderr
    assert "Exception ignored" not in ended.stderr


def test_a_folder_that_is_gone_is_said(shell: Shell) -> None:
    command = f"mkdir gone && cd gone && rmdir ../gone && {sys.executable} -m ecgscale plan mine"
    ended = subprocess.run(
        ["bash", "-c", command], cwd=shell.folder, env=shell.environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 2
    assert ended.stderr == "ecgscale: the current folder is no more; change into one that is\n"


def test_a_fault_in_a_thread_is_a_sentence_and_a_log(apart: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    def body(**_: object) -> None:
        beside = threading.Thread(target=in_a_library(KeyError("x")))
        beside.start()
        beside.join()

    before = threading.excepthook
    monkeypatch.setattr(commands()["status"], "callback", body)
    ended = apart.type("status")
    assert ended.returncode == 0
    assert "KeyError: 'x'" in ended.stderr
    assert "Traceback" in log_named(ended.stderr.strip(), apart)
    assert threading.excepthook is before


@pytest.mark.parametrize("home", ["/dev/null/x", "sweeps/mine.py"])
def test_a_log_finds_a_place_where_home_is_none(
    apart: Shell, home: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    apart.environment["ECGSCALE_HOME"] = home
    apart.environment["HOME"] = "/dev/null/nobody"
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(commands()["status"], "callback", in_a_library(KeyError("x")))
    ended = apart.type("status")
    assert ended.returncode == 1
    assert "Traceback" in log_named(ended.stderr.strip(), apart)
    assert [p for p in tmp_path.glob("ecgscale-fault-*") if p.stat().st_mode & 0o077 == 0]


def test_without_any_place_for_a_log_there_is_still_a_sentence(apart: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise FileNotFoundError(2, "No usable temporary directory found")

    apart.environment["ECGSCALE_HOME"] = "/dev/null/x"
    monkeypatch.setattr("tempfile.mkdtemp", refuse)
    monkeypatch.setattr(commands()["status"], "callback", in_a_library(KeyError("x")))
    ended = apart.type("status")
    assert ended.returncode == 1
    assert "KeyError: 'x'; how it came to this is in no log, for nothing can be written" in ended.stderr


@pytest.mark.parametrize("number", ["-1", "0", "nan", "inf"])
@pytest.mark.parametrize(
    ("verb", "option"),
    [
        ("predict", "--n-params"),
        ("predict", "--n-samples"),
        ("allocate", "--flops"),
        ("suggest", "--budget"),
        ("simulate", "--alpha"),
        ("simulate", "--b"),
        ("fit", "--delta"),
        ("fit", "--max-exponent"),
    ],
)
def test_a_size_or_budget_that_cannot_be_is_refused(apart: Shell, verb: str, option: str, number: str) -> None:
    ended = apart.type(*typed(verb), option, number)  # of an option that is there twice the last one counts
    assert ended.returncode == 2, ended.stderr
    said = " ".join(ended.stderr.replace("│", " ").split())
    assert f"Invalid value for '{option}': {number}: it has to be a number above 0" in said


@pytest.mark.parametrize("number", ["-1", "nan"])
@pytest.mark.parametrize(
    ("verb", "option"), [("launch", "--max-device-hours"), ("simulate", "--noise"), ("simulate", "--floor")]
)
def test_what_may_be_0_is_still_a_number(apart: Shell, verb: str, option: str, number: str) -> None:
    ended = apart.type(*typed(verb), option, number)
    assert ended.returncode == 2, ended.stderr
    assert f"Invalid value for '{option}': {number}: it has to be a number" in " ".join(
        ended.stderr.replace("│", " ").split()
    )


def test_a_lease_that_is_lost_while_a_run_is_done_is_a_sentence_and_a_log(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another holder takes the run between two of its evaluations; what was measured until then stays."""
    from ecgscale import records

    shell.environment["ECGSCALE_HOME"] = str(shell.home)
    run_id = load(str(shell.folder / "sweeps" / "mine.py")).runs[0].run_id
    add = records.Journal.add
    added: list[int] = []

    def robbed(journal: records.Journal, rows: Any) -> None:
        if added:
            folder = leases.folder_of(shell.folder / "results", "mine")
            (held,) = folder.glob(f"{run_id}.*.lease")
            (folder / f"{run_id}.{int(held.name.split('.')[1]) + 1:06d}.lease").write_text("0\n{}\n")
        added.append(len(rows))
        add(journal, rows)

    monkeypatch.setattr(records.Journal, "add", robbed)
    ended = shell.type("run", "mine", run_id)
    assert ended.returncode == 1, ended.stderr
    last = ended.stderr.splitlines()[-1]
    assert last.startswith(f"ecgscale: run {run_id} is held by another; what is measured is kept, watch it with: ")
    kept = log_named(last, shell)
    assert "Lost: " in kept
    nowhere_and_nobody(kept, shell)
    path = records.path_of(shell.folder / "results", "mine", run_id)
    assert sorted(records.read(path).rows["step"].unique()) == [0]


@pytest.mark.parametrize("verb", [["plan"], ["launch"], ["status"], ["run", "a"], ["simulate"]])
@pytest.mark.parametrize(
    ("right", "wrong", "sentence"),
    [
        ("SWEEP =", "import sys; sys.exit(0)\nSWEEP =", "it calls exit; it is to assign SWEEP"),
        ("(CMSC(),", "(CMSC,", "a run's objective is the class CMSC; write CMSC(...)"),
    ],
)
def test_what_is_wrong_in_a_sweep_file_is_said_by_every_verb_that_reads_it(
    shell: Shell, verb: list[str], right: str, wrong: str, sentence: str
) -> None:
    file = shell.folder / "sweeps" / "mine.py"
    assert right in file.read_text()
    file.write_text(file.read_text().replace(right, wrong))
    ended = shell.type(verb[0], "mine", *verb[1:])
    assert ended.returncode == 2, ended.stderr
    (said,) = ended.stderr.splitlines()
    assert said.startswith("ecgscale: sweep file mine.py, line ")
    assert sentence in said


def test_an_unknown_task_is_told_the_nearest_and_not_all(shell: Shell) -> None:
    file = shell.folder / "sweeps" / "mine.py"
    file.write_text(file.read_text().replace('"ludb-rhythm",', '"zzz",'))
    ended = shell.type("plan", "mine")
    assert ended.returncode == 2
    (said,) = ended.stderr.splitlines()
    assert "there is no task 'zzz'; of " in said
    assert said.count(",") < 8


def test_a_package_that_another_has_replaced_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As numpy is by one that pins an older: pandas and pyarrow are not imported then, and do not say why."""
    assert not faults.unmet()
    here = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: "1.26.4" if name == "numpy" else here(name))
    sentence, code = faults.told(ImportError("C extension: None not built."), tmp_path)
    assert sentence.startswith("ecgscale needs numpy>=2.0, and 1.26.4 is installed; what was installed later may have ")
    assert code == 1
