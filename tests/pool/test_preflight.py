"""Before a sweep starts: what a node may lack or have otherwise is named, and what is right passes."""

import multiprocessing
import shutil
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ecgscale import data
from ecgscale.attempt import Place
from ecgscale.pool import health
from ecgscale.pool.preflight import Expected, expecting, look, refusals
from ecgscale.spec.sweep import Sweep
from ecgscale.training import codebooks
from ecgscale.trial import trial


@pytest.fixture
def own(home: Path, tmp_path: Path, tiny_sweep: Sweep) -> Path:
    """A home of the test's own, with the sweep's corpus and a file where its codebook would be."""
    data.open_corpus("ludb-sample", home)
    shutil.copytree(home / "corpora" / "ludb-sample", tmp_path / "home" / "corpora" / "ludb-sample")
    (recipe,) = tiny_sweep.codebooks
    book = codebooks.path_of(recipe, tmp_path / "home")
    book.parent.mkdir()
    book.write_bytes(b"codes")
    return tmp_path / "home"


@pytest.fixture
def expected(tiny_sweep: Sweep, own: Path, tmp_path: Path) -> Iterator[Expected]:
    with expecting(tiny_sweep, own, tmp_path / "results", free_bytes=1e6) as found:
        yield found


def said(home: Path, results: Path, expected: Expected, n_gpus: float = 0) -> str:
    report = look(home, results, expected, n_gpus)
    assert bool(report["problems"]) == bool(refusals([report]))
    return " | ".join(refusals([report]))


def test_a_node_like_the_launch_passes_and_nothing_is_left_behind(tiny_sweep: Sweep, own: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    with expecting(tiny_sweep, own, results) as expected:
        with multiprocessing.get_context("spawn").Pool(1) as other:  # as Ray does it: in another process
            report = other.apply(look, (own, results, expected))
        assert report["problems"] == []
        assert refusals([report, look(own, results, expected)]) == []
    assert not list(tmp_path.rglob(".preflight"))


def test_storage_that_is_not_shared(own: Path, tmp_path: Path, expected: Expected) -> None:
    (tmp_path / "elsewhere").mkdir()
    assert "the results folder is not the one that the launch sees" in said(own, tmp_path / "elsewhere", expected)
    assert "the home folder is not the one" in said(tmp_path / "elsewhere", tmp_path / "results", expected)


def test_storage_that_cannot_be_written(
    own: Path, tmp_path: Path, expected: Expected, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, content: bytes) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("ecgscale.pool.preflight.write_whole", refuse)
    assert "the home folder cannot be written: Read-only file system" in said(own, tmp_path / "results", expected)


def test_storage_that_gives_back_other_bytes(own: Path, tmp_path: Path, expected: Expected) -> None:
    (own / ".preflight" / expected.secret).write_bytes(b"x" * 32)
    assert "the home folder gives back other bytes" in said(own, tmp_path / "results", expected)


def test_no_room(own: Path, tmp_path: Path, expected: Expected) -> None:
    wanting = replace(expected, free_bytes=1e18)
    assert "the sweep will write about 1e+09 GB" in said(own, tmp_path / "results", wanting)


def test_other_code_or_libraries(own: Path, tmp_path: Path, expected: Expected) -> None:
    assert "install the same commit" in said(own, tmp_path / "results", replace(expected, code="0"))
    newer = replace(expected, versions={**expected.versions, "torch": "99.0"})
    assert "the launch has 99.0" in said(own, tmp_path / "results", newer)


def test_other_data(own: Path, tmp_path: Path, expected: Expected) -> None:
    results, folder = tmp_path / "results", own / "corpora" / "ludb-sample"
    digest = data.open_corpus("ludb-sample", own).manifest.digest
    other = replace(expected, corpora={"ludb-sample": "f" * 64})
    assert f"corpus ludb-sample is another preparation ({digest[:12]}, the launch has ffffffffffff)" in said(
        own, results, other
    )
    whole = (folder / "peaks.npy").read_bytes()
    (folder / "peaks.npy").write_bytes(whole[:-1])
    assert "corpus ludb-sample: peaks.npy damaged" in said(own, results, expected)
    (folder / "peaks.npy").write_bytes(whole)
    assert said(own, results, expected) == ""
    next((own / "codebooks").iterdir()).write_bytes(b"other")
    assert "is not the launch's" in said(own, results, expected)


def test_gpus_that_torch_cannot_use(
    own: Path, tmp_path: Path, expected: Expected, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert said(own, tmp_path / "results", expected, 2) == ""
    assert "the cluster counts 4 GPUs there and torch can use 2" in said(own, tmp_path / "results", expected, 4)


def test_problems_are_told_once_with_their_nodes() -> None:
    reports = [
        {"node": "a", "problems": ["its clock is made of cheese"]},
        {"node": "b", "problems": []},
        {"node": "c", "problems": ["its clock is made of cheese", "it is on fire"]},
    ]
    assert refusals(reports) == [
        "2 of 3 nodes (a, c): its clock is made of cheese",
        "1 of 3 nodes (c): it is on fire",
    ]


def test_a_run_needs_no_network(tiny_sweep: Sweep, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise AssertionError("a run opened a connection")

    for door in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, door, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert trial(tiny_sweep.runs[0], tiny_sweep, Place(home, tmp_path)) == "done"


def test_a_node_with_gpus_and_without_a_compiler(
    own: Path, tmp_path: Path, expected: Expected, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    monkeypatch.setattr(health, "compiler", lambda: "")
    monkeypatch.setattr(health, "compute_modes", lambda: ["Default", "Exclusive_Process"])
    told = said(own, tmp_path / "results", expected, n_gpus=4)
    assert "there is no C compiler, which torch.compile needs (install gcc there, set CC, or launch" in told
    assert "its GPUs are in compute mode Exclusive_Process, in which runs cannot share them" in told
    told = said(own, tmp_path / "results", replace(expected, compiled=False), n_gpus=4)
    assert "C compiler" not in told
    assert said(own, tmp_path / "results", expected) == ""  # on CPUs nothing is compiled
