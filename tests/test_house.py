"""The plan of the house: who may import whom, and what the import path must not load."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
HOUSE = TESTS.parent


def in_order(plan: str) -> tuple[str, ...]:
    """Places from left to right: files and rooms by their names, and after "ROOM:" a room's files as ROOM.FILE."""
    found: list[str] = []
    for line in plan.strip().splitlines():
        room, colon, files = line.rpartition(":")
        found += [f"{room.strip()}{colon and '.'}{file}" for file in files.split()]
    return tuple(found)


# A file imports only from files and rooms before it: those of its own room too.
TRAINING = in_order(
    """
    phrases registry records redact beside definitions pausing place_faults processes home leases attempt data
    models objectives
    spec: types run tasks check errors sweep override finetune rates
    flops compute provenance
    training: footprint checkpoint sharding step rates train codebooks codewords kept_weights published_files
    training: weights inputs followers sharded_checkpoint distributed session
    contracts
    probing: scores convex heartbeats conditions probe heads external measure reprobe
    export: model program card folder embed
    trial
    pool: surroundings states places health observers preflight worker slot shares kinds watch launch
    pricing: calibration hours doctor obstacles counts plan cells
    cli facade
    """
)
ANALYSIS = in_order(
    """
    records naming tuning observations
    fitting: repetition cells laws status problem resampling health descent amplitudes newton residuals starts
    fitting: quantities profile_ends intervals alike identifiability structure options formula noise result
    fitting: description run_noise shifted frontier nonlinear nonlinear_ends nonlinear_fit fit bands
    fitting: loss_pairs floors joint_floors transfer effective_data optimum allocation forecast overfitting
    table: where markup query groups build
    columns points comparison
    planning: coverage transfer_coverage adaptive adaptive_vs_grid
    learning figures
    study: constants beyond benchmark published beside recognised finetuned compared figures claims tables
    answer inline sections report
    """
)
ALONE = {
    "ray": ["ecgscale/pool/launch.py"],
    "fvcore": ["ecgscale/compute.py"],
    "matplotlib": ["analysis/figures/", "analysis/study/figures/"],
    "numba": ["ecgscale/data/", "analysis/fitting/descent.py"],
}


def modules(package: str) -> list[Path]:
    return sorted((HOUSE / package).rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Names that a file imports, by the folders they lie in: `ecgscale.analysis` is a link to the folder `analysis`."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {re.sub(r"^ecgscale\.(?=(analysis|sweeps)\b)", "", name) for name in names}


def test_the_package_holds_what_lies_beside_it() -> None:
    """So an installed one is found under one name, whatever else is called analysis or sweeps where it is used."""
    for name in ("analysis", "sweeps"):
        link = HOUSE / "ecgscale" / name
        assert link.is_symlink()
        assert link.resolve() == HOUSE / name
    bare = [
        f"{path.relative_to(HOUSE)} imports {name}"
        for package in ("ecgscale", "analysis", "sweeps", "tests")
        for path in modules(package)
        for name in re.findall(r"^\s*(?:from|import) ((?:analysis|sweeps)\b\S*)", path.read_text(), flags=re.M)
    ]
    assert not bare


def place(name: str, package: str, order: tuple[str, ...]) -> str | None:
    """Where a module stands: its file in a room whose files have an order, else its file or room on the top floor."""
    parts = name.split(".")
    if parts[0] != package:
        return None
    return next((found for found in (".".join(parts[1:3]), ".".join(parts[1:2])) if found in order), None)


@pytest.mark.parametrize(("package", "order"), [("ecgscale", TRAINING), ("analysis", ANALYSIS)])
def test_imports_point_one_way(package: str, order: tuple[str, ...]) -> None:
    wrong = []
    for path in modules(package):
        module = ".".join(path.relative_to(HOUSE).with_suffix("").parts)
        here = place(module, package, order)
        if here is None:
            assert path.stem in ("__init__", "__main__"), f"{module} has no place in the order of the house"
            continue
        for name in imported(path):
            there = place(name, package, order)
            if there is not None and order.index(there) > order.index(here):
                wrong.append(f"{path.relative_to(HOUSE)} imports {name}")
    assert not wrong


@pytest.mark.parametrize("room", sorted({place.split(".")[0] for place in TRAINING if "." in place}))
def test_a_room_opens_with_its_idea_alone(room: str) -> None:
    body = ast.parse((HOUSE / "ecgscale" / room / "__init__.py").read_text())
    assert ast.get_docstring(body)
    named = [part for part in body.body[1:] if not isinstance(part, (ast.ImportFrom, ast.Assign))]
    assert not named if room == "spec" else len(body.body) == 1


def test_analysis_knows_only_records_phrases_and_registry() -> None:
    wrong = [
        f"{path.relative_to(HOUSE)} imports {name}"
        for path in modules("analysis")
        for name in imported(path)
        if name.split(".")[0] == "torch"
        or (name.startswith("ecgscale.") and name.split(".")[1] not in ("records", "phrases", "registry"))
    ]
    assert not wrong


def test_the_study_stands_behind_a_wall() -> None:
    """What is general knows nothing of the one paper: only the study itself and the report may ask it."""
    wrong = [
        f"{path.relative_to(HOUSE)} imports {name}"
        for path in modules("analysis")
        if path.relative_to(HOUSE / "analysis").parts[0] not in ("study", "report.py")
        for name in imported(path)
        if name.startswith("analysis.study")
    ]
    assert not wrong


def test_the_study_of_one_paper_is_imported_by_nothing_general() -> None:
    users = {
        str(path.relative_to(HOUSE))
        for package in ("ecgscale", "analysis")
        for path in modules(package)
        if any(name == "analysis.study" or name.startswith("analysis.study.") for name in imported(path))
    }
    behind_the_wall = ("analysis/study/", "analysis/report.py", "ecgscale/cli/")
    assert users
    assert not {user for user in users if not user.startswith(behind_the_wall)}


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
        ("ecgscale.analysis.table.query", "torch"),
        ("ecgscale.analysis.table.query", "scipy"),
        ("ecgscale.cli", "pandas"),
        ("ecgscale.cli", "rich"),
        ("ecgscale.pool.slot", "torch"),
        ("ecgscale.data", "numba"),
        ("ecgscale.models", "numba"),
    ],
)
def test_light_doors_stay_light(module: str, forbidden: str) -> None:
    code = f"import sys, {module}; sys.exit({forbidden!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


BESIDE = {"benchmarks", "fixtures"}  # folders of tests that hold none
TESTED = sorted(TESTS.rglob("test_*.py"))
ROOMS = [path for path in TESTED if path.parent not in (TESTS, TESTS / "gpu")]  # what only a GPU shows is of all rooms


@pytest.mark.parametrize("path", TESTED, ids=lambda path: str(path.relative_to(TESTS)))
def test_no_test_module_imports_another(path: Path) -> None:
    """What two of them need stands in a module of its own beside the folders: planted, drawn, runs, layouts, ..."""
    others = [name for name in imported(path) if name.startswith("tests.") and ".test_" in name]
    assert not others


@pytest.mark.parametrize("path", ROOMS, ids=lambda path: path.stem)
def test_folders_of_tests_mirror_the_rooms(path: Path) -> None:
    """A folder is called as the room, or file of the top floor, that its modules test: each imports something of it."""
    room = path.relative_to(TESTS).parts[0]
    assert room not in BESIDE
    modules = [f"{package}.{room}" for package in ("ecgscale", "analysis") if list((HOUSE / package).glob(f"{room}*"))]
    assert modules, f"neither ecgscale nor analysis has a room called {room}"
    names = imported(path) | ({"ecgscale.cli"} if "tests.shell" in imported(path) else set())
    named = names | set(re.findall(r"\becgscale(?:\.\w+)+", path.read_text()))  # by a process of its own, too
    named |= {name.removeprefix("ecgscale.") for name in named}
    assert any(f"{name}.".startswith(f"{module}.") for name in named for module in modules)
    if room == "figures":
        assert not any(name.startswith("analysis.study") for name in names)


def test_results_readme_is_the_schema() -> None:
    from ecgscale.records import data_dictionary

    assert (HOUSE / "results" / "README.md").read_text() == data_dictionary()


def test_the_readme_shows_what_is_there() -> None:
    text = (HOUSE / "README.md").read_text()
    assert "@@" not in text
    linked = re.findall(r"\]\((?!https?://)([^)#]+)\)", text)
    assert linked
    assert all((HOUSE / path).exists() for path in linked)
    named = set(re.findall(r"^      ?(\w+)/", text, flags=re.M))
    rooms = {
        path.parent.name
        for package in ("ecgscale", "analysis")
        for path in (HOUSE / package).glob("*/__init__.py")
        if not path.parent.is_symlink()
    }
    assert rooms <= named
    assert all(any((HOUSE / package / name).is_dir() for package in ("ecgscale", "analysis")) for name in named)


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md", "docs/promises.md"])
def test_documents_name_files_that_are_there(document: str) -> None:
    text = (HOUSE / document).read_text()
    linked = [(HOUSE / document).parent / path for path in re.findall(r"\]\((?!https?://|#)([^)#]+)", text)]
    named = [HOUSE / path for path in re.findall(r"`((?:ecgscale|analysis|tests|sweeps|docs|results)/[\w./-]*)`", text)]
    made = {HOUSE / "results" / name for name in ("figures", "runs", "report.html")}  # by the demo
    gone = [path for path in linked + named if not path.exists() and path not in made]
    assert not gone


def test_the_glossary_is_where_documents_point() -> None:
    assert "\n## Glossary\n" in (HOUSE / "CONTRIBUTING.md").read_text()
