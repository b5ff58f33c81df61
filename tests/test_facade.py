"""`import ecgscale as es`: every function of the facade, and that importing it costs nothing."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import ecgscale as es
from tests import own_sweep
from tests.planted import planted_points, write_runs


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


def test_rows_are_loaded_fitted_asked_and_drawn(results: Path, tmp_path: Path) -> None:
    rows = es.load(results)
    assert {"configuration", "target", "step", "loss"} <= {*rows.columns}
    name, target = rows["configuration"].iloc[0], rows["corpus"].iloc[0]
    few = rows[(rows["configuration"] == name) & (rows["target"] == target)]
    table = es.fit(few, bootstrap=0)
    found = es.exponents(table, law="joint", coefficient="alpha")
    assert found["value"].between(0.005, 3).all()
    with pytest.raises(ValueError, match="no law 'jont' in the table; did you mean 'joint'"):
        es.exponents(table, law="jont")
    answer = es.predict(few, name, target, n_params=1e6, n_samples=1e5)
    assert isinstance(answer, pd.DataFrame)
    assert answer["loss"].between(0, 1).all()
    drawn = es.plot("scaling", few, table, tmp_path / "figures")
    assert {path.suffix for path in drawn} == {".png", ".csv"}
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
