"""The plan of the house: who may import whom, and what the import path must not load."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

HOUSE = Path(__file__).parent.parent
# A room imports only from rooms to its left.
TRAINING = tuple(
    """
    records placeless home leases data models objectives spec spelling sweep changes compute checkpoint scores step
    sharding train tasks convex tuning heartbeats conditions probe heads external measure kept codebooks weights
    provenance company parts lockstep underway trial states reprobe observers calibration doctor plan cells preflight
    worker slot launch terminal cli
    """.split()
)
ANALYSIS = tuple(
    """
    records observations laws sums newton starts intervals screening estimates curved fit curves comparison transfer
    effective finetuned allocation forecast overfitting conditions query benchmark exponents published points simulate
    design race learning claims tables figures report
    """.split()
)
ALONE = {
    "ray": ["ecgscale/launch.py"],
    "fvcore": ["ecgscale/compute.py"],
    "matplotlib": ["analysis/figures/"],
    "numba": ["ecgscale/data/"],
}


def modules(package: str) -> list[Path]:
    return sorted((HOUSE / package).rglob("*.py"))


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def room(name: str, package: str, order: tuple[str, ...]) -> str | None:
    parts = name.split(".")
    return parts[1] if parts[0] == package and len(parts) > 1 and parts[1] in order else None


@pytest.mark.parametrize(("package", "order"), [("ecgscale", TRAINING), ("analysis", ANALYSIS)])
def test_imports_point_one_way(package: str, order: tuple[str, ...]) -> None:
    wrong = []
    for path in modules(package):
        here = path.relative_to(HOUSE / package).parts[0].removesuffix(".py")
        if here in ("__init__", "__main__"):
            continue
        assert here in order, f"{package}/{here} has no place in the order of the house"
        for name in imported(path):
            there = room(name, package, order)
            if there is not None and there != here and order.index(there) > order.index(here):
                wrong.append(f"{path.relative_to(HOUSE)} imports {name}")
    assert not wrong


def test_analysis_knows_only_records() -> None:
    wrong = [
        f"{path.relative_to(HOUSE)} imports {name}"
        for path in modules("analysis")
        for name in imported(path)
        if name.split(".")[0] == "torch"
        or (name.startswith("ecgscale") and not name.startswith("ecgscale.records") and name != "ecgscale")
    ]
    assert not wrong


@pytest.mark.parametrize("library", sorted(ALONE))
def test_heavy_libraries_have_one_room(library: str) -> None:
    users = {
        str(path.relative_to(HOUSE))
        for package in ("ecgscale", "analysis", "sweeps")
        for path in modules(package)
        if library in {name.split(".")[0] for name in imported(path)}
    }
    assert all(any(user.startswith(place) for place in ALONE[library]) for user in users), users


@pytest.mark.parametrize(
    ("module", "forbidden"),
    [
        ("ecgscale.records", "torch"),
        ("analysis.query", "torch"),
        ("analysis.query", "scipy"),
        ("ecgscale.cli", "pandas"),
        ("ecgscale.data", "numba"),
        ("ecgscale.models", "numba"),
    ],
)
def test_light_doors_stay_light(module: str, forbidden: str) -> None:
    code = f"import sys, {module}; sys.exit({forbidden!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_results_readme_is_the_schema() -> None:
    from ecgscale.records import data_dictionary

    assert (HOUSE / "results" / "README.md").read_text() == data_dictionary()


def test_the_readme_shows_what_is_there() -> None:
    text = (HOUSE / "README.md").read_text()
    assert "@@" not in text
    linked = re.findall(r"\]\((?!https?://)([^)#]+)\)", text)
    assert linked
    assert all((HOUSE / path).exists() for path in linked)
    named = re.findall(r"^      ?(\w+)/", text, flags=re.M)
    assert all((HOUSE / name).is_dir() or (HOUSE / "ecgscale" / name).is_dir() for name in named)
