"""Trackers: what was measured is shown once, whoever asks, and nothing leaves the machine."""

import math
import struct
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ecgscale import records
from ecgscale.pool.observers import OBSERVERS, observe
from tests.shell import Shell

DESCRIPTION = '{"architecture":{"depth":3,"kind":"resnet","width":24}}'
RUN_ID = records.run_id_of(DESCRIPTION)


def measure(results: Path, steps: range) -> None:
    facts = {"sweep": "s", "run_id": RUN_ID, "configuration": "resnet-sl", "corpus": "c", "fraction": 0.5, "seed": 0}
    facts |= {"label_set": "", "n_params": 100, "n_samples": 50, "batch_size": 8}
    about = {"target": "c", "metric": "loss"}
    rows: list[dict[str, Any]] = []
    for step in steps:
        values = {"val": 1 / (1 + step), "test": math.nan if step == 1 else 2 / (1 + step)}
        for split, value in values.items():
            row: dict[str, Any] = dict.fromkeys(records.SCHEMA.names)
            rows.append(row | facts | about | {"step": step, "split": split, "value": value})
    records.write(records.path_of(results, "s", RUN_ID), rows, DESCRIPTION, {"status": "running"})


def events(folder: Path) -> list[tuple[str, int, float]]:
    """Scalars in TensorBoard's files: records of length, checksum, event, checksum."""
    from tensorboardX.proto.event_pb2 import Event

    found = []
    for file in sorted(folder.glob("events.*")):
        data, at = file.read_bytes(), 0
        while at < len(data):
            (length,) = struct.unpack("<Q", data[at : at + 8])
            event = Event.FromString(data[at + 12 : at + 12 + length])
            found += [(v.tag, event.step, v.simple_value) for v in event.summary.value if v.HasField("simple_value")]
            at += 16 + length
    return found


def test_tensorboard_gets_each_number_once(tmp_path: Path) -> None:
    measure(tmp_path, range(2))
    assert observe(tmp_path, "tensorboard", ["s"]) == 4
    assert observe(tmp_path, "tensorboard", ["s"]) == 0
    measure(tmp_path, range(4))
    assert observe(tmp_path, "tensorboard", ["s"]) == 4
    shown = events(tmp_path / "observers" / "tensorboard" / "s" / RUN_ID)
    assert [(step, value) for tag, step, value in shown if tag == "c/loss/val"] == [
        (step, pytest.approx(1 / (1 + step))) for step in range(4)
    ]
    assert [step for tag, step, _ in shown if tag == "c/loss/test"] == [0, 2, 3]  # what is no number is not shown


class Recorder:
    """Stands in for MLflow's client and for W&B: remembers what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.runs: list[Any] = []

    # MLflow
    def __call__(self, tracking_uri: str) -> "Recorder":
        assert tracking_uri.startswith("sqlite:///")
        return self

    def get_experiment_by_name(self, name: str) -> Any:
        return SimpleNamespace(experiment_id=name) if self.runs else None

    def create_experiment(self, name: str) -> str:
        return name

    def search_runs(self, experiments: list[str], condition: str) -> list[Any]:
        assert condition == f"tags.ecgscale_run = '{RUN_ID}'"
        return self.runs

    def create_run(self, experiment: str, tags: dict[str, str], run_name: str) -> Any:
        self.runs.append(SimpleNamespace(info=SimpleNamespace(run_id="own")))
        return self.runs[-1]

    def log_param(self, run: str, name: str, value: Any) -> None:
        self.told.append((name, value))

    def log_metric(self, run: str, name: str, value: float, step: int) -> None:
        self.told.append((name, step, value))

    # W&B
    def init(self, **options: Any) -> "Recorder":
        assert options["mode"] == "offline"
        assert (options["project"], options["id"]) == ("s", RUN_ID)
        self.told += options["config"].items()
        return self

    def __enter__(self) -> "Recorder":
        return self

    def __exit__(self, *error: object) -> None: ...

    def log(self, values: dict[str, float], step: int) -> None:
        self.told += [(name, step, value) for name, value in values.items()]


@pytest.mark.parametrize("kind", ["mlflow", "wandb"])
def test_other_trackers_get_the_same(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder()
    monkeypatch.setitem(sys.modules, "mlflow", SimpleNamespace(MlflowClient=recorder))  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "wandb", recorder)  # type: ignore[arg-type]
    for steps in (range(1), range(3)):
        measure(tmp_path, steps)
        observe(tmp_path, kind, ["s"])
    assert ("n_params", 100) in recorder.told
    numbers = [told for told in recorder.told if len(told) == 3]
    assert sorted(numbers) == [
        ("c/loss/test", 0, 2.0),
        ("c/loss/test", 2, pytest.approx(2 / 3)),
        ("c/loss/val", 0, 1.0),
        ("c/loss/val", 1, 0.5),
        ("c/loss/val", 2, pytest.approx(1 / 3)),
    ]


@pytest.mark.parametrize("kind", ["mlflow", "wandb"])
def test_a_missing_library_is_one_sentence(kind: str, shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    measure(shell.folder / "results", range(2))
    monkeypatch.setitem(sys.modules, kind, None)
    ended = shell.type("observe", kind)
    assert ended.returncode == 1
    assert f"{kind} is not installed here; pip install 'ecgscale[{kind}]'" in ended.stderr.replace("\n", "")


def test_the_verb_shows_and_says_how_much(shell: Shell) -> None:
    measure(shell.folder / "results", range(2))
    assert "4 new rows of s shown: results/observers/tensorboard" in shell.type("observe", "tensorboard").stderr
    assert "did you mean 'tensorboard'?" in shell.type("observe", "tensorbord").stderr
    assert "no results of a sweep 'zz'" in shell.type("observe", "tensorboard", "zz").stderr
    assert set(OBSERVERS) == {"tensorboard", "mlflow", "wandb"}


def test_a_watched_report_is_written_until_no_run_is_open(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    from ecgscale.spec.sweep import load

    results = shell.folder / "results"
    runs = load(str(shell.folder / "sweeps" / "mine.py")).runs
    slept: list[float] = []
    pages: list[str] = []

    def end(run: Any) -> None:
        records.write(records.path_of(results, "mine", run.run_id), [], run.description, {"status": "done"})

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        pages.append((results / "report.html").read_text())
        for run in runs[1:] if len(slept) == 2 else ():
            end(run)

    end(runs[0])
    monkeypatch.setattr("ecgscale.analysis.report._figures", lambda *points: ([], []))
    monkeypatch.setattr("time.sleep", sleep)
    ended = shell.type("report", "--watch")
    assert ended.returncode == 0, ended.stderr
    assert len(slept) == 2
    assert "<b>3</b><span>pending</span>" in pages[0]
    assert "http-equiv" in pages[0]
    assert "http-equiv" not in (results / "report.html").read_text()
    assert ended.stdout.count("results/report.html") == 2  # the second look saw nothing new
