"""The wheel, as it is installed: all under one name, in an empty folder and beside others' analysis and sweeps."""

import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.paths import HOUSE

Type = Callable[..., subprocess.CompletedProcess[str]]


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

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, *(("-m", "ecgscale") if arguments[0] != "-c" else ()), *arguments]
        return subprocess.run(
            command, cwd=tmp_path / "work", env=environment, capture_output=True, text=True, check=False
        )

    (tmp_path / "work").mkdir()
    return run


@pytest.mark.slow
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
