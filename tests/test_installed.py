"""The wheel, as it is installed: all under one name, in an empty folder and beside others' analysis and sweeps."""

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ecgscale import data
from ecgscale.data.batches import Store
from ecgscale.probing.probe import features
from ecgscale.spec.sweep import load
from ecgscale.training import kept_weights
from tests import layouts
from tests.pages import COOKBOOK, commands, files, words
from tests.paths import HOUSE

Type = Callable[..., subprocess.CompletedProcess[str]]
# Commands of one process, without the seconds that importing torch takes each: lists of words in, what they said out.
IN_TURN = """
import contextlib, io, json, runpy, sys
from ecgscale.cli import main
said = []
for words in json.load(sys.stdin):
    out, err, code = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            sys.argv = words
            main() if words[0] == "ecgscale" else runpy.run_path(words[1], run_name="__main__")
        except SystemExit as ended:
            code = ended.code or 0
    said.append([code, out.getvalue(), err.getvalue()])
json.dump(said, sys.stdout)
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of installed packages: our wheel, and another's package that is called sweeps."""
    pytest.importorskip("setuptools", minversion="77", reason="building a wheel without an index wants setuptools 77")
    folder = tmp_path_factory.mktemp("installed")
    copy = folder / "source"  # building leaves files behind
    subprocess.run(["git", "clone", "-q", str(HOUSE), str(copy)], check=True)
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(folder), "."]
    built = subprocess.run(build, cwd=copy, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    (wheel,) = folder.glob("ecgscale-*.whl")
    with zipfile.ZipFile(wheel) as opened:
        assert {name.partition("/")[0].partition("-")[0] for name in opened.namelist()} == {"ecgscale"}
        opened.extractall(folder / "site")
    (folder / "site" / "sweeps").mkdir()
    (folder / "site" / "sweeps" / "__init__.py").write_text("OTHERS = True\n")
    return folder / "site"


@pytest.fixture
def typed(site: Path, tmp_path: Path) -> Type:
    """Type a command where the wheel is installed, in an empty folder: a module of ours, or code as in a notebook."""
    environment = os.environ | {"PYTHONPATH": str(site), "ECGSCALE_HOME": str(tmp_path / "home"), "COLUMNS": "100"}

    def run(*arguments: str, read: str = "") -> subprocess.CompletedProcess[str]:
        command = [sys.executable, *(("-m", "ecgscale") if arguments[0][0] != "-" else ()), *arguments]
        return subprocess.run(
            command, cwd=tmp_path / "work", env=environment, input=read, capture_output=True, text=True, check=False
        )

    (tmp_path / "work").mkdir()
    return run


@pytest.mark.slow
@pytest.mark.xdist_group("ray")
def test_an_installed_one_works_in_an_empty_folder(typed: Type, site: Path) -> None:
    where = typed("-c", "import ecgscale; print(ecgscale.__file__)")
    assert where.stdout.startswith(str(site)), where.stderr
    claims = typed("claims", "--reference")
    assert claims.returncode == 0, claims.stderr
    assert "verdict" in claims.stdout
    plan = typed("plan", "demo")
    assert plan.returncode == 0, plan.stderr
    assert " runs, " in plan.stdout + plan.stderr


@pytest.mark.slow
@pytest.mark.xdist_group("ray")
def test_an_installed_one_stands_beside_others_of_its_names(typed: Type, tmp_path: Path) -> None:
    """As in a notebook: the working folder is first on the path."""
    for name in ("analysis", "sweeps"):
        (tmp_path / "work" / name).mkdir()
        (tmp_path / "work" / name / "__init__.py").write_text("MINE = True\n")
    text = (HOUSE / "sweeps" / "demo.py").read_text()
    (tmp_path / "work" / "sweeps" / "mine.py").write_text(text.replace('"demo"', '"mine"'))
    code = (
        "import analysis, sweeps, ecgscale.analysis.fitting.fit, ecgscale.analysis.figures, ecgscale.sweeps.demo\n"
        "assert analysis.MINE and sweeps.MINE\n"
        "print(ecgscale.sweeps.demo.SWEEP.name)"
    )
    notebook = typed("-c", code)
    assert notebook.returncode == 0, notebook.stderr
    assert notebook.stdout == "demo\n"
    (tmp_path / "work" / "points.csv").write_text(
        "N,D,loss\n" + "".join(f"{n},{d},{0.1 + n**-0.3 + d**-0.4}\n" for n in (1e3, 1e4, 1e5) for d in (1e2, 1e3, 1e4))
    )
    fitted = typed("fit", "--points", "points.csv")
    assert fitted.returncode == 0, fitted.stderr
    assert "alpha" in fitted.stdout
    both = typed("-c", "import ecgscale as es; print(es.sweep('mine').name, es.sweep('code_grid').name)")
    assert both.stdout == "mine code_grid\n", both.stderr  # one's own, and one that is shipped
    unknown = typed("plan", "code_grip")
    assert unknown.returncode == 2
    assert "did you mean 'code_grid'" in unknown.stderr


@pytest.mark.slow
@pytest.mark.xdist_group("ray")
def test_the_cookbook_in_a_folder_that_has_an_analysis_and_sweeps(typed: Type, site: Path, tmp_path: Path) -> None:
    """Its files, its commands in their order and nothing else: planned, launched on two workers, ..., loaded."""
    work = tmp_path / "work"
    for name, text in {"analysis/__init__.py": "", "sweeps/__init__.py": "", **files(COOKBOOK)}.items():
        (work / name).parent.mkdir(exist_ok=True, parents=True)
        (work / name).write_text(text)
    layouts.ludb(work / "raw" / "ludb", n=12)
    said: dict[str, str] = {}

    def type_in_turn(lines: Sequence[str], run_id: str) -> None:
        ended = typed("-c", IN_TURN, read=json.dumps([words(line, run_id) for line in lines]))
        assert ended.returncode == 0, ended.stderr
        for line, (code, out, err) in zip(lines, json.loads(ended.stdout), strict=True):
            assert code == 0, f"{line}\n{out}{err}"
            said[line] = out + err

    run_id = ""
    for kind, some in groupby(commands(COOKBOOK), lambda line: words(line, "")[1] in ("launch", "install")):
        lines = list(some)
        if not kind:
            type_in_turn(lines, run_id)
            run_id = run_id or said["ecgscale plan own"].partition("\nown")[0].splitlines()[1].split("\t")[0]
            continue
        (line,) = lines
        if line.startswith("pip"):
            pip = ("-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--target", str(site))
            ended = typed(*pip, *words(line, "")[2:])
        else:
            ended = typed(*words(line, "")[1:])
        assert ended.returncode == 0, f"{line}\n{ended.stdout}{ended.stderr}"
        said[line] = ended.stdout + ended.stderr
    assert "8 done" in said["ecgscale launch own --workers 2"]
    assert "results/figures/losses.png" in said["ecgscale figures losses"]
    assert "(1, 2)" in said["python use.py"]

    sweep, home = load(str(work / "sweeps" / "own.py")), tmp_path / "home"
    run = sweep.run(run_id)
    backbone = run.architecture.build()
    backbone.load_state_dict(kept_weights.load(run, home).backbone)
    embedded = pd.read_parquet(work / "features.parquet")
    own = features(backbone, Store(data.open_corpus("ludb-sample", home), embedded["row"].to_numpy()))
    np.testing.assert_allclose(embedded.filter(regex=r"^f\d+$"), own, atol=1e-6)

    module = work / "sweeps" / "mymodel.py"
    module.write_text(module.read_text().replace(".relu()", ".tanh()"))
    type_in_turn(["ecgscale status own"], run_id)
    assert "the code of PlainCNN has changed since 8 runs were done with it" in said["ecgscale status own"]
