"""Before a sweep starts, from every node: the same storage, code, libraries and data, the GPUs asked for, room on disk.

The driver writes down what it has (``expecting``), each node looks (``look``), and ``refusals`` says in words what does
not hold. Nothing here opens a network connection, and neither does a run.
"""

import hashlib
import json
import os
import platform
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ecgscale import data, provenance
from ecgscale.data import corpus as corpora
from ecgscale.pool import health
from ecgscale.records import write_whole
from ecgscale.spec.sweep import Sweep
from ecgscale.spec.tasks import task_of
from ecgscale.training import codebooks

_FOLDER = ".preflight"


@dataclass(frozen=True)
class Expected:
    """What the driver has, for nodes to compare with: a secret in both folders, code, versions, data, room."""

    secret: str
    code: str
    versions: Mapping[str, str]
    corpora: Mapping[str, str]  # name -> digest, which its arrays were checked against
    codebooks: Mapping[str, str]  # file in home -> SHA-256
    free_bytes: float
    compiled: bool = True  # whether runs are compiled on GPUs


@contextmanager
def expecting(
    sweep: Sweep,
    home: Path,
    results: Path,
    free_bytes: float = 0.0,
    say: Callable[[str], None] = lambda _: None,
    compiled: bool = True,
) -> Iterator[Expected]:
    """What nodes are to find while this lasts. ``free_bytes``: what the sweep will write (see ``pricing.plan``).

    ``say`` hears of a corpus whose check takes more than a moment. The corpora have to be prepared and the codebooks
    trained (see ``pricing.obstacles.unlaunchable``). Raises corpora.Damaged.
    """
    secret = secrets.token_hex(16)
    for folder in (home, results):
        write_whole(folder / _FOLDER / secret, secret.encode())
    try:
        yield Expected(
            secret,
            code_digest(),
            json.loads(provenance.facts("cpu")["versions"]),
            {name: data.open_corpus(name, home, say).manifest.digest for name in _corpora(sweep)},
            {str(path.relative_to(home)): _sha256(path) for path in _codebooks(sweep, home)},
            free_bytes,
            compiled,
        )
    finally:
        for folder in (home, results):
            (folder / _FOLDER / secret).unlink(missing_ok=True)
            with suppress(OSError):  # another launch looks, too
                (folder / _FOLDER).rmdir()


def look(home: Path, results: Path, expected: Expected, n_gpus: float = 0) -> dict[str, Any]:
    """What one node finds: its name, and every way in which it differs from the driver, in words.

    ``n_gpus``: how many GPUs the cluster says this node has. Call it on the node.
    """
    problems = [
        *_storage("home", home, expected),
        *_storage("results", results, expected),
        *_software(expected),
        *_data(home, expected),
        *_gpus(n_gpus, expected.compiled),
    ]
    return {"node": platform.node(), "problems": problems}


def refusals(reports: Sequence[Mapping[str, Any]]) -> list[str]:
    """Why a launch is refused, one sentence a problem, with the nodes that have it; empty if all is well."""
    having: dict[str, list[str]] = {}
    for report in reports:
        for problem in report["problems"]:
            having.setdefault(problem, []).append(str(report["node"]))
    return [
        f"{len(nodes)} of {len(reports)} nodes ({', '.join(sorted(set(nodes))[:3])}"
        f"{', ...' if len(set(nodes)) > 3 else ''}): {problem}"
        for problem, nodes in having.items()
    ]


def code_digest() -> str:
    """SHA-256 over the package's Python files: the same code, whether committed or not."""
    house = Path(__file__).parent.parent
    digest = hashlib.sha256()
    for path in sorted(house.rglob("*.py")):
        digest.update(f"{path.relative_to(house).as_posix()}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def _storage(name: str, folder: Path, expected: Expected) -> Iterator[str]:
    try:
        seen = (folder / _FOLDER / expected.secret).read_bytes()
    except FileNotFoundError:
        yield f"the {name} folder is not the one that the launch sees; it has to be on storage that all nodes share"
        return
    except OSError as error:
        yield f"the {name} folder cannot be read: {error.strerror}"
        return
    if seen.decode(errors="replace") != expected.secret:
        yield f"the {name} folder gives back other bytes than were written"
    own = folder / _FOLDER / f"{platform.node()}-{os.getpid()}-{secrets.token_hex(4)}"
    try:
        write_whole(own, expected.secret.encode())
        if own.read_bytes() != expected.secret.encode():
            yield f"the {name} folder gives back other bytes than were written"
        own.unlink()
    except OSError as error:
        yield f"the {name} folder cannot be written: {error.strerror}"
    free = shutil.disk_usage(folder).free
    if free < expected.free_bytes:
        wanted = f"the sweep will write about {expected.free_bytes / 1e9:.3g} GB"
        yield f"{free / 1e9:.3g} GB are free in the {name} folder and {wanted}"


def _software(expected: Expected) -> Iterator[str]:
    if code_digest() != expected.code:
        yield "its ecgscale is not the launch's; install the same commit everywhere"
    own = json.loads(provenance.facts("cpu")["versions"])
    for library, version in expected.versions.items():
        if own.get(library) != version:
            yield f"{library} is {own.get(library, 'missing')}, the launch has {version}"


def _data(home: Path, expected: Expected) -> Iterator[str]:
    for name, digest in expected.corpora.items():
        try:
            own = data.open_corpus(name, home).manifest.digest
        except corpora.Damaged as error:
            yield str(error)
        except (OSError, ValueError):
            yield f"corpus {name} is not there"
        else:
            if own != digest:
                yield f"corpus {name} is another preparation ({own[:12]}, the launch has {digest[:12]})"
    for file, digest in expected.codebooks.items():
        if not (home / file).is_file() or _sha256(home / file) != digest:
            yield f"the codebook {Path(file).stem} is not the launch's"


def _gpus(n_gpus: float, compiled: bool) -> Iterator[str]:
    if not n_gpus:
        return
    import torch

    usable = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if usable < n_gpus:
        yield f"the cluster counts {n_gpus:g} GPUs there and torch can use {usable}"
    if compiled and not health.compiler():
        yield f"{health.NO_COMPILER} (install gcc there, set CC, or launch with --no-compile)"
    for mode in sorted({mode for mode in health.compute_modes() if not health.shares_gpus(mode)}):
        yield f"its GPUs are in compute mode {mode}, in which runs cannot share them (nvidia-smi -c DEFAULT)"


def _corpora(sweep: Sweep) -> list[str]:
    trained_on = [name for run in sweep.runs for name in run.slice.corpora]
    return list(dict.fromkeys(trained_on + [task_of(task).corpus for task in sweep.tasks]))


def _codebooks(sweep: Sweep, home: Path) -> list[Path]:
    return sorted(path for recipe in sweep.codebooks if (path := codebooks.path_of(recipe, home)).is_file())


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
