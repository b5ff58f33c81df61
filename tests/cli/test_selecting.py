"""--set and --only: one pair of options on every verb of a sweep, and what they choose."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import typer

from ecgscale.analysis.table.query import read
from ecgscale.cli import door
from tests.planted import planted_points, write_runs
from tests.shell import Shell

OF_LAUNCHES = {"stop"}  # which run of a sweep a launch is at is not for it to say
NEEDED = {
    "observe": ["tensorboard", "mine"],
    "codebook train": ["--sweep", "mine"],
    "predict": [
        "--configuration",
        "R-SL",
        "--target",
        "code",
        "--n-params",
        "1",
        "--n-samples",
        "1",
        "--sweep",
        "mine",
    ],
    "allocate": ["--configuration", "R-SL", "--target", "code", "--flops", "1", "--sweep", "mine"],
    "figures": ["scaling", "--sweep", "mine"],
    "tables": ["s1", "--sweep", "mine"],
    "report": ["--sweep", "mine"],
    "suggest": ["mine", "--budget", "1"],
    "export": ["mine", "a", "-o", "model"],
    **{verb: ["mine", "a"] for verb in ("run", "logs")},
}


def verbs() -> dict[str, Any]:
    """Every verb that is told a sweep, by what is typed for it."""
    tree = typer.main.get_command(door.app)
    every = {
        " ".join(filter(None, (group, name))): command
        for group, commands in (("", tree), *getattr(tree, "commands", {}).items())
        for name, command in getattr(commands, "commands", {}).items()
        if not hasattr(command, "commands")
    }
    return {n: c for n, c in every.items() if {"sweep", "sweeps"} & {p.name for p in c.params} and n not in OF_LAUNCHES}


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("planted")
    write_runs(folder, planted_points(("resnet-sl", "transformer-sl")).assign(sweep="mine"))
    return folder


@pytest.fixture
def measured(shell: Shell, planted: Path) -> Shell:
    """A shell with planted results of the sweep of its folder."""
    shutil.copytree(planted, shell.folder / "results")
    return shell


def test_every_verb_of_a_sweep_has_both_and_means_the_same() -> None:
    found = verbs()
    assert {"plan", "launch", "status", "failures", "retry", "reprobe", "fit", "figures", "suggest"} <= set(found)
    for verb, command in found.items():
        options = {p.name: (p.opts, p.metavar, p.help) for p in command.params if p.name in ("only", "changes")}
        assert set(options) == {"only", "changes"}, verb
        assert options == {p.name: (p.opts, p.metavar, p.help) for p in found["plan"].params if p.name in options}, verb


@pytest.mark.parametrize("verb", verbs())
def test_a_typo_is_the_same_sentence_in_every_verb(measured: Shell, verb: str) -> None:
    for typo, sentence in (
        (("--set", "sede=1"), "--set 'sede=1': runs have no field 'sede'; did you mean 'seed'?"),
        (("--only", "fractoin=1"), "--only 'fractoin=1': runs have no field 'fractoin'; did you mean 'fraction'?"),
        (("--only", "configuration=R-LS"), "--only 'configuration=R-LS': no run has it"),
    ):
        ended = measured.type(*verb.split(), *NEEDED.get(verb, ["mine"]), *typo)
        assert ended.returncode == 2, (typo, ended.stderr)
        assert sentence in " ".join(ended.stderr.split()), typo
        assert ended.stdout == ""


def test_they_choose_among_planned_runs(shell: Shell) -> None:
    def states(*options: str) -> set[str]:
        ended = shell.type("status", "mine", "--json", *options)
        assert ended.returncode == 0, ended.stderr
        return set(json.loads(ended.stdout)["states"])

    every, supervised, small = states(), states("--only", "configuration=R-SL"), states("--only", "fraction=0.3")
    assert (len(every), len(supervised), len(small), len(supervised & small)) == (4, 2, 2, 1)
    assert states("--only", "configuration=r-sl", "--only", "fraction=0.3") == supervised & small
    others = states("--set", "seed=7", "--only", "configuration=resnet-sl")
    assert len(others) == 2
    assert not others & every
    planned = shell.type("plan", "mine", "--only", "configuration=R-SL", "--set", "seed=7", "--json")
    assert {line["run_id"] for line in json.loads(planned.stdout)} == others
    (some, *_) = others
    assert "has no log here" in shell.type("logs", "mine", some, "--set", "seed=7").stderr
    said = shell.type("failures", "mine", "--set", "seed=7", "--only", "configuration=R-SL").stderr
    assert "ecgscale status mine --set=seed=7 --only=configuration=resnet-sl" in said


def test_they_choose_among_measured_runs(measured: Shell) -> None:
    fitted = measured.type("fit", "--only", "configuration=R-SL", "--bootstrap", "0")
    assert fitted.returncode == 0, fitted.stderr
    assert set(read(measured.folder / "results")["configuration"]) == {"resnet-sl"}
    nothing = measured.type("fit", "mine", "--set", "seed=7")
    assert nothing.returncode == 2
    assert "nothing to fit: sweeps mine hold no run" in nothing.stderr
    nameless = measured.type("fit", "--set", "seed=7")
    assert "--set changes the runs of a sweep; name it" in nameless.stderr
    (measured.folder / "points.csv").write_text("N,D,loss\n1,1,1\n")
    of_a_table = measured.type("fit", "--points", "points.csv", "--only", "N=1")
    assert of_a_table.returncode == 2
    assert (
        "--set and --only are for runs of a sweep, not for a table, of which --where chooses rows" in of_a_table.stderr
    )
