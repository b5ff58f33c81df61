"""A stranger's model, objective and task, from a folder of theirs: planned, run, launched, probed again."""

import json
from pathlib import Path

import pytest

from ecgscale import records
from ecgscale.spec.sweep import load
from tests import own_sweep
from tests.shell import Shell

N_PARAMS = 4 * (12 * 15 + 1)


@pytest.fixture
def stranger(shell: Shell, tmp_path: Path) -> Path:
    """Their sweep file, in a folder that is neither the current one nor in ``sweeps``."""
    return own_sweep.write(tmp_path / "theirs", own_sweep.SWEEP)


def targets(shell: Shell, run_id: str) -> set[str]:
    return set(records.read(records.path_of(shell.folder / "results", "own", run_id)).rows["target"])


def test_it_is_planned_run_and_probed_on_a_task_that_came_later(shell: Shell, stranger: Path) -> None:
    file = str(stranger)
    planned = shell.type("plan", file, "--json")
    assert planned.returncode == 0, planned.stderr
    lines = json.loads(planned.stdout)
    assert [(line["configuration"], line["n_params"], line["counted_by"]) for line in lines] == [
        ("plaincnn-sl", N_PARAMS, "fvcore"),
        ("plaincnn-ssl", N_PARAMS, "fvcore"),
    ]
    ids = [line["run_id"] for line in lines]
    for run_id in ids:
        ended = shell.type("run", file, run_id)
        assert ended.returncode == 0, ended.stderr
    assert targets(shell, ids[1]) == {"ludb-sample", "ludb-rhythm"}
    own_sweep.write(stranger.parent)  # with a task of its own now, which changes no run
    assert [run.run_id for run in load(file).runs] == ids
    again = shell.type("reprobe", file)
    assert again.returncode == 0, again.stderr
    assert "2 runs probed, 0 had nothing to add" in again.stderr
    written = records.read(records.path_of(shell.folder / "results", "own", ids[1]))
    assert set(written.rows["target"]) == {"ludb-sample", "ludb-rhythm", "our-rhythm"}
    assert set(json.loads(written.facts["own_tasks"])) == {"our-rhythm"}
    assert set(json.loads(written.facts["own_code"])) == {"PlainCNN", "Amplitude"}
    assert "changed" not in shell.type("status", file).stderr
    mended = shell.type("reprobe", file, "--task", "our-rhytm")
    assert "there is no task 'our-rhytm'; did you mean 'our-rhythm'?" in mended.stderr

    beside = stranger.parent / "mymodel.py"
    beside.write_text(own_sweep.MODEL.replace("One convolution.", "A single one.  ") + "\n# a remark\n")
    assert "changed" not in shell.type("status", file).stderr
    beside.write_text(own_sweep.MODEL.replace(".relu()", ".tanh()"))
    sentence = "the code of PlainCNN has changed since 2 runs were done with it"
    assert all(sentence in shell.type(verb, file).stderr for verb in ("plan", "status"))
    beside.write_text(own_sweep.MODEL)
    (stranger.parent / "layers.py").write_text("KERNEL = 31\n")
    assert sentence in shell.type("status", file).stderr
    counted = json.loads(shell.type("plan", file, "--json").stdout)
    assert {(line["state"], line["n_params"]) for line in counted} == {("done", N_PARAMS)}  # what was done, not what is
    told = shell.type("plan", file).stderr.splitlines()
    assert told[-1] == f"next: ecgscale fit {file}"
    larger = json.loads(shell.type("plan", file, "--set", "architecture.width=8", "--json").stdout)
    assert {(line["state"], line["n_params"]) for line in larger} == {("pending", 8 * (12 * 31 + 1))}
    assert shell.type("plan", file, "--set", "seed=1").stderr.endswith(f"next: ecgscale launch {file} --set=seed=1\n")
    own_sweep.write(stranger.parent, own_sweep.WITH_TASK.replace('"rhythm", "A"', '"rhythm", "B"'))
    assert "task our-rhythm asks something else than when 2 runs were measured" in shell.type("status", file).stderr


@pytest.mark.slow
def test_workers_that_lack_the_files_do_its_runs(shell: Shell, stranger: Path) -> None:
    """The files are gone when the workers start: what they know came with their orders."""
    vanish = "import pathlib\n[pathlib.Path(__file__).with_name(f'{n}.py').unlink() for n in ('mymodel', 'layers')]\n"
    own_sweep.write(stranger.parent, own_sweep.WITH_TASK + vanish)
    launched = shell.run("launch", str(stranger), "--workers", "2")
    assert launched.returncode == 0, launched.stderr
    assert "2 done" in launched.stderr
    assert not (stranger.parent / "mymodel.py").exists()
    own_sweep.write(stranger.parent)
    for run in load(str(stranger)).runs:
        assert targets(shell, run.run_id) == {"ludb-sample", "ludb-rhythm", "our-rhythm"}
