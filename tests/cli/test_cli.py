"""The commands people type: what they print, where, and how they end when something is wrong."""

import json
import os
import signal
import subprocess
import sys

import pytest

from ecgscale import leases, records
from ecgscale.pool.states import pausing
from tests import layouts
from tests.planted import planted_points, write_runs
from tests.shell import SWEEP, Shell


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["plan", "mien"], 2, "no sweep 'mien' in sweeps/; did you mean 'mine'?"),
        (["plna", "mine"], 2, "Did you mean 'plan'"),
        (["plan", "mine", "--jsno"], 2, "No such option: --jsno"),
        (["plan", "mine", "--device", "a1000"], 2, "no device 'a1000'; did you mean 'a100'?"),
        (["launch", "mine", "--only", "fractoin=1"], 2, "no field 'fractoin'; did you mean 'fraction'?"),
        (["launch", "mine", "--only", "configuration=resnet-ls"], 2, "did you mean 'resnet-sl'?"),
        (["launch", "mine", "--set", "sede=1"], 2, "runs have no field 'sede'; did you mean 'seed'?"),
        (["launch", "mine", "--gpus", "64"], 3, "--gpus 64: this machine has"),
        (["logs", "mine", "zzz"], 2, "sweep mine has no run 'zzz'"),
        (["stop", "mine"], 2, "no results folder 'results'"),
        (["run", "mine", "zzz"], 2, "sweep mine has no run 'zzz'"),
        (["run", "mine", "--device"], 2, "requires an argument"),
        (["fit", "--results", "nowhere"], 2, "no results folder 'nowhere'"),
        (["fit", "--bootstrap", "-1"], 2, "Invalid value for '--bootstrap'"),
        (["exponents", "--results", "nowhere"], 2, "no results folder 'nowhere'"),
        (["figures", "--results", "nowhere"], 2, "no results folder 'nowhere'"),
        (["report", "--results", "nowhere"], 2, "no results folder 'nowhere'"),
        (["data", "prepare", "cod", "--raw", "."], 2, "did you mean 'code'?"),
    ],
)
def test_a_mistake_is_one_sentence(shell: Shell, arguments: list[str], code: int, sentence: str) -> None:
    ended = shell.type(*arguments)
    assert ended.returncode == code
    assert sentence in " ".join(ended.stderr.split())
    assert "Traceback" not in ended.stderr
    assert ended.stdout == ""


def test_plan_prices_and_status_counts(shell: Shell) -> None:
    planned = shell.type("plan", "mine", "--json")
    assert planned.returncode == 0
    runs = json.loads(planned.stdout)
    assert len(runs) == 4
    assert {"run_id", "n_params", "n_samples", "macs_per_sample", "flops", "device_hours", "state"} <= set(runs[0])
    status = json.loads(shell.type("status", "mine", "--json").stdout)
    assert (status["runs"], status["pending"], status["done"]) == (4, 4, 0)
    assert "none of 4 runs has failed" in shell.type("failures", "mine").stderr


def test_one_run_without_ray_then_its_results(shell: Shell) -> None:
    run_id = json.loads(shell.type("plan", "mine", "--json").stdout)[0]["run_id"]
    ended = shell.type("run", "mine", run_id)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[0].split("\t") == ["target", "metric", "test value"]
    path = records.path_of(shell.folder / "results", "mine", run_id)
    file = records.read(path)
    assert file.status == "done"
    assert sorted(file.rows["step"].unique()) == [0, 2, 4]
    assert "is done already" in shell.type("run", "mine", run_id).stderr
    # Nothing that names a place or a person.
    for said in (path.read_bytes().decode("latin1"), ended.stderr + ended.stdout):
        assert str(shell.folder) not in said
        assert str(shell.home) not in said

    # A damaged file is named in one sentence, and everything else goes on.
    path.write_bytes(path.read_bytes()[:-3])
    fitted = shell.type("fit", "mine")
    assert fitted.returncode == 2
    assert "Traceback" not in fitted.stderr
    assert f"mine/{run_id}.parquet is damaged" in fitted.stderr
    assert json.loads(shell.type("status", "mine", "--json").stdout)["damaged"] == 1
    failed = shell.type("failures", "mine")
    assert run_id in failed.stdout
    assert f"log: ecgscale logs mine {run_id}" in failed.stderr
    assert "next: ecgscale retry mine" in failed.stderr

    # Its log is plain lines that name no place.
    log = shell.type("logs", "mine", run_id[:6]).stdout
    assert "attempt 1" in log
    assert "done: all steps taken" in log
    assert "/" not in log
    assert "told 0 launches" in shell.type("stop", "mine").stderr


@pytest.mark.parametrize(
    ("right", "wrong", "sentence"),
    [
        (
            'tasks=("ludb-rhythm",)',
            'tasks=("ludb-rythm",)',
            "there is no task 'ludb-rythm'; did you mean 'ludb-rhythm'?",
        ),
        ('(Supervised(), "rhythm")', '(Supervised(), "rythm")', "has no label set 'rythm'; did you mean 'rhythm'?"),
        ('Slice("ludb-sample"', 'Slice("ludb-smaple"', "there is no corpus 'ludb-smaple'; did you mean 'ludb-sample'?"),
    ],
)
@pytest.mark.parametrize("verb", ["plan", "launch"])
def test_a_wrong_name_in_a_sweep_is_found_before_anything_starts(
    shell: Shell, verb: str, right: str, wrong: str, sentence: str
) -> None:
    file = shell.folder / "sweeps" / "mine.py"
    assert right in file.read_text()
    file.write_text(file.read_text().replace(right, wrong))
    ended = shell.type(verb, "mine")
    assert ended.returncode == 2
    assert sentence in " ".join(ended.stderr.split())


def test_launching_what_is_not_prepared_is_refused(shell: Shell) -> None:
    (shell.folder / "sweeps" / "mine.py").write_text(
        SWEEP.replace("ludb-sample", "code").replace('"rhythm"', '"code6"')
    )
    refused = shell.type("launch", "mine")
    assert refused.returncode == 3
    assert "corpus code is not prepared here; run: ecgscale data prepare code --raw DIR" in refused.stderr


def test_a_launch_above_the_limit_asks(shell: Shell) -> None:
    refused = shell.type("launch", "mine", "--max-device-hours", "0")
    assert refused.returncode == 3
    assert "--yes" in refused.stderr


def test_help_loads_nothing_heavy() -> None:
    heavy = "torch ray pandas numpy scipy matplotlib pyarrow wfdb numba".split()
    code = f"import sys, ecgscale.cli; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_a_corpus_with_missing_parts_is_refused_unless_told_and_then_counted(shell: Shell) -> None:
    raw, home = shell.folder / "raw", shell.folder / "home"
    layouts.ludb(raw)
    (raw / "data" / "RECORDS").write_text("\n".join(str(number) for number in range(1, 22)))  # one more than there is
    file = shell.folder / "sweeps" / "mine.py"
    file.write_text(SWEEP.replace("ludb-sample", "ludb"))
    prepare = ("data", "prepare", "ludb", "--raw", str(raw), "--home", str(home), "--workers", "1")
    refused = shell.type(*prepare)
    assert refused.returncode == 2
    assert "1 of 21 records of data/RECORDS" in " ".join(refused.stderr.split())
    assert shell.type(*prepare, "--allow-missing").returncode == 0

    run_id = json.loads(shell.type("plan", "mine", "--json", "--home", str(home)).stdout)[0]["run_id"]
    for verb in (("launch", "mine"), ("run", "mine", run_id)):
        refused = shell.type(*verb, "--home", str(home))
        assert refused.returncode == 3
        assert "corpus ludb was prepared without 1 of 21 records of data/RECORDS" in " ".join(refused.stderr.split())
        assert "--allow-missing" in refused.stderr
    assert not (shell.folder / "results").exists()
    told = shell.type("run", "mine", run_id, "--home", str(home), "--allow-missing")
    assert told.returncode == 0, told.stderr
    facts = records.read(records.path_of(shell.folder / "results", "mine", run_id)).facts
    assert facts["n_missing_parts"] == "1"


def test_a_run_that_another_holds_is_refused(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other is this test, whose lease moves between two looks."""
    monkeypatch.setattr(leases, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(leases, "HEARTBEAT_SECONDS", 0.01)
    run_id = json.loads(shell.type("plan", "mine", "--json").stdout)[0]["run_id"]
    lease = leases.Claims(leases.folder_of(shell.folder / "results", "mine"), "other").claim(run_id)
    assert lease is not None
    with leases.Heartbeat(lease):
        refused = shell.type("run", "mine", run_id)
    assert refused.returncode == 3
    assert "another launch of mine is doing this run" in refused.stderr


def test_changed_runs_say_that_they_are_others(shell: Shell) -> None:
    refused = shell.type("launch", "mine", "--set", "seed=7", "--max-device-hours", "0")
    assert refused.returncode == 3
    assert "4 runs differ from the sweep's by seed=7 and have ids of their own" in refused.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGUSR1, 143)])
def test_signals_are_a_wish_to_pause_and_have_their_codes(number: int, code: int) -> None:
    with pausing() as heard:
        assert heard.number is None
        os.kill(os.getpid(), number)
        assert (heard.number, heard.exit_code) == (number, code)


def test_a_second_signal_ends_at_once() -> None:
    child = os.fork()
    if not child:
        with pausing():
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGINT)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 130


def test_a_figure_that_has_nothing_to_show_is_said_in_a_line_beside_those_drawn(shell: Shell) -> None:
    write_runs(shell.folder / "results", planted_points(("resnet-sl",)))
    drawn = shell.type("figures", "learning", "isoflop", "fewshot")
    assert drawn.returncode == 0
    assert drawn.stdout.split() == ["results/figures/learning.png", "results/figures/learning.csv"]
    assert "isoflop is not drawn: no slice of compute holds four sizes" in drawn.stderr
    assert "fewshot is not drawn: no run was fine-tuned" in drawn.stderr
