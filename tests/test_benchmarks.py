"""``make bench`` prints each row as it is measured, goes on after a failure, and joins no Ray that runs already."""

import os
from collections.abc import Iterator

import pytest

from tests.benchmarks import BENCHMARKS, Measurement
from tests.benchmarks.__main__ import main


def good(capsys: pytest.CaptureFixture[str], ratio: float = 2.0) -> Iterator[Measurement]:
    yield Measurement("first", "2 s", "1 s", ratio, 1)
    assert "first" in capsys.readouterr().out  # before the second is measured
    yield Measurement("second", "3 s", "1 s", 3, 1, "a note")


def broken() -> Iterator[Measurement]:
    yield Measurement("before it broke", "1 s", "1 s", 1, 1)
    raise RuntimeError("no room\nleft")


def test_rows_are_printed_as_they_are_measured(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["good"], lambda _: lambda: good(capsys)) == 0
    assert capsys.readouterr().out.split() == ["good", "second", "3", "s", "1", "s", "3", ">=", "1", "yes", "a", "note"]
    assert main(["good"], lambda _: lambda: good(capsys, ratio=0.5)) == 1


def test_one_that_fails_says_why_and_does_not_take_the_rest_with_it(capsys: pytest.CaptureFixture[str]) -> None:
    found = {"broken": broken, "sound": lambda: [Measurement("after", "1 s", "1 s", 1, 1)]}
    assert main(list(found), lambda name: found[name]) == 1  # type: ignore[return-value]
    told = capsys.readouterr()
    _, before, failed, after = (line.split() for line in told.out.splitlines())
    assert before[:4] == ["broken", "before", "it", "broke"]
    assert failed == ["broken", "failed", "NO", "RuntimeError:", "no", "room", "left"]
    assert after[:2] == ["sound", "after"]
    assert "Traceback" in told.err


def test_one_that_cannot_be_imported_fails_like_any_other(capsys: pytest.CaptureFixture[str]) -> None:
    def missing(name: str) -> object:
        raise ModuleNotFoundError(f"No module named '{name}'")

    assert main(["lost"], missing) == 1  # type: ignore[arg-type]
    assert "ModuleNotFoundError: No module named 'lost'" in capsys.readouterr().out


def test_benchmarks_never_join_a_ray_that_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")

    def looks() -> list[Measurement]:
        assert "RAY_ADDRESS" not in os.environ
        return []

    assert main(["looks"], lambda _: looks) == 0


def test_an_unknown_benchmark_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bogus"]) == 2
    assert BENCHMARKS[0] in capsys.readouterr().err
