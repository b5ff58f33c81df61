"""`import ecgscale as es`: every function of the facade, and that importing it costs nothing."""

import json
import subprocess
import sys
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest

import ecgscale as es
from tests import own_sweep
from tests.paths import HOUSE
from tests.planted import JOINT, planted_points, write_runs


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("facade") / "results"
    write_runs(folder, planted_points())
    return folder


def test_importing_it_imports_nothing_else() -> None:
    code = (
        "import sys, ecgscale as es\n"
        "assert not {'torch', 'ray', 'pandas', 'numpy'} & {*sys.modules}\n"
        "assert es.__version__ and {'load', 'run'} <= {*dir(es)}\n"
        "assert callable(es.load) and 'torch' not in sys.modules\n"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
    with pytest.raises(AttributeError, match="module 'ecgscale' has no attribute 'lode'"):
        es.lode  # noqa: B018


def test_the_notebook_loads_fits_asks_and_draws(results: Path, tmp_path: Path) -> None:
    """Its cells in their order, in a folder that holds results: a kernel runs them as Python does."""
    cells = json.loads((HOUSE / "docs" / "quickstart.ipynb").read_text())["cells"]
    (tmp_path / "results").symlink_to(results)
    found: dict[str, Any] = {}
    with chdir(tmp_path):
        for cell in cells:
            if cell["cell_type"] == "code":
                exec(compile("".join(cell["source"]), cell["id"], "exec"), found)
    assert {"configuration", "target", "step", "loss"} <= {*found["rows"].columns}
    few, table, joint = found["one"], found["table"], found["joint"]
    assert joint.set_index("coefficient").loc["alpha", "value"] == pytest.approx(JOINT["alpha"], abs=0.1)
    with pytest.raises(ValueError, match="no law 'jont' in the table; did you mean 'joint'"):
        es.exponents(table, law="jont")
    assert found["answer"]["loss"].between(0, 1).all()
    assert [file.suffix for file in found["files"]] == [".png", ".csv"]
    assert all((tmp_path / file).is_file() for file in found["files"])
    with pytest.raises(FileNotFoundError, match="no folder of results, or of an exported model, 'nowhere'"):
        es.load(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="fewshot is not drawn: no run was fine-tuned"):
        es.plot("fewshot", few, table, tmp_path / "figures")


def test_a_sweep_of_ones_own_is_run(home: Path, tmp_path: Path) -> None:
    sweep = es.sweep(own_sweep.write(tmp_path / "theirs"))
    first = sweep.runs[0].run_id
    assert es.run(sweep, first[:6], tmp_path / "results", home) == "done"
    assert es.run(sweep, first, tmp_path / "results", home) == "done"
    assert es.load(tmp_path / "results")["target"].nunique() == 3
