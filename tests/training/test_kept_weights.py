"""Weights that are kept: runs start from them, new tasks are probed on them, and no id that was knows of them."""

import json
import random
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch

from ecgscale import data, records, trial
from ecgscale.attempt import Place
from ecgscale.data.corpus import Slice
from ecgscale.models import ResNet
from ecgscale.objectives import Supervised
from ecgscale.pricing import obstacles
from ecgscale.pricing.obstacles import unlaunchable
from ecgscale.probing import reprobe
from ecgscale.spec.run import Evaluation, Run, Schedule
from ecgscale.spec.sweep import Sweep, stages
from ecgscale.training import checkpoint, kept_weights, train
from tests.descriptions import described
from tests.shell import Shell

EVALUATION = Evaluation(every=2, probe_epochs=3, standardise=True)
FIRST = Run(
    ResNet(3, 4),
    Supervised(),
    Slice("ludb-sample", 1.0, "rhythm"),
    Schedule(steps=6, batch_size=8, lr=1e-2, patience_epochs=99),
    EVALUATION,
)
SECOND = replace(FIRST, slice=Slice("ludb-sample", 0.5, "rhythm"), initial=FIRST)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def own_home(home: Path, tmp_path: Path) -> Path:
    """A home with the session's corpora and nothing kept."""
    data.open_corpus("ludb-sample", home)
    own = tmp_path / "home"
    own.mkdir()
    (own / "corpora").symlink_to(home / "corpora")
    return own


def measured(results: Path, sweep: str, run: Run) -> pd.DataFrame:
    return records.read(records.path_of(results, sweep, run.run_id)).rows


def test_a_chain_of_runs_is_a_value_and_changes_no_other_identity() -> None:
    assert described(SECOND.description) == SECOND
    assert '"initial"' not in FIRST.description
    other = replace(SECOND, initial=replace(FIRST, seed=1))
    assert len({FIRST.run_id, SECOND.run_id, replace(SECOND, initial=None).run_id, other.run_id}) == 4
    assert SECOND.configuration == "resnet-sl-tuned"
    assert replace(SECOND, initial=SECOND).configuration == "resnet-sl-tuned"


def test_a_run_starts_from_a_backbone_of_its_own_shape() -> None:
    with pytest.raises(ValueError, match=r"its own is ResNet\(depth=3, width=6.*initial run ResNet\(depth=3, width=4"):
        replace(SECOND, architecture=ResNet(3, 6))


def test_stages_put_initial_runs_first() -> None:
    third = replace(SECOND, seed=3, initial=SECOND)
    assert stages([third, SECOND, FIRST]) == [(FIRST,), (SECOND,), (third,)]
    assert stages([third, SECOND]) == [(SECOND,), (third,)]
    assert stages([FIRST]) == [(FIRST,)]


def test_a_sweep_that_starts_from_its_own_runs_must_keep_them() -> None:
    with pytest.raises(ValueError, match=r'keep="best"'):
        Sweep("s", (FIRST, SECOND), ())
    with pytest.raises(ValueError, match="did you mean 'best'"):
        Sweep("s", (FIRST,), (), keep="bset")


@pytest.mark.slow
def test_the_best_step_is_kept_and_another_run_starts_exactly_there(own_home: Path, tmp_path: Path) -> None:
    """Both ways of keeping agree on the best step, and a tuned run's first probes are those of that step."""
    sweeps = {keep: Sweep(keep, (FIRST, SECOND), ("ludb-rhythm",), keep=keep) for keep in ("best", "all")}
    for keep, sweep in sweeps.items():
        assert trial.trial(FIRST, sweep, Place(own_home, tmp_path)) == "done"
        index = kept_weights.index_of(FIRST, own_home)
        assert index is not None
        assert index.complete
        files = {path.name for path in (own_home / "kept" / FIRST.run_id).glob("*.pt*")}
        rows = measured(tmp_path, keep, FIRST)
        inside = rows[(rows["domain"] == "ID") & (rows["split"] == "val") & (rows["step"] > 0)]
        best = int(inside["step"].to_numpy()[inside["value"].argmin()])
        assert index.best == best
        assert files == ({f"step-{best}.pt"} if keep == "best" else {"step-2.pt", "step-4.pt", "step-6.pt"})
    assert trial.trial(SECOND, sweeps["all"], Place(own_home, tmp_path)) == "done"
    tuned = measured(tmp_path, "all", SECOND)
    assert set(tuned["initial"]) == {FIRST.run_id}
    assert set(tuned["configuration"]) == {"resnet-sl-tuned"}
    assert {"train", "val", "test"} == set(tuned.loc[tuned["domain"] == "ID", "split"])
    outside = [
        frame[(frame["domain"] == "OOD") & (frame["step"] == step)].set_index(["split", "metric"])["value"]
        for frame, step in ((tuned, 0), (rows, best))
    ]
    pd.testing.assert_series_equal(outside[0], outside[1])
    assert "initial_digest" in records.read(records.path_of(tmp_path, "all", SECOND.run_id)).facts


def test_training_without_the_weights_it_starts_from_is_refused(home: Path) -> None:
    corpus = data.open_corpus("ludb-sample", home)
    with pytest.raises(ValueError, match="starts from resnet-sl 3x4 1 s0"):
        next(train.pretrain(SECOND, corpus))


def test_a_run_whose_initial_run_is_not_kept_is_refused_with_the_command(
    own_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = Sweep("both", (FIRST, SECOND), ("ludb-rhythm",), keep="best")
    assert unlaunchable(both, own_home, tmp_path) == []
    alone = unlaunchable(both, own_home, tmp_path, [SECOND])
    assert alone == [f"initial run {FIRST.run_id} ({FIRST.name}) has no kept weights here; run: ecgscale launch both"]
    elsewhere = unlaunchable(Sweep("tuned", (SECOND,), ()), own_home, tmp_path)
    assert "put them into a sweep" in elsewhere[0]
    monkeypatch.setattr(obstacles, "defined", lambda: iter([both]))
    assert "ecgscale launch both" in unlaunchable(Sweep("tuned", (SECOND,), ()), own_home, tmp_path)[0]
    assert trial.trial(FIRST, replace(both, keep="none", runs=(FIRST,)), Place(own_home, tmp_path)) == "done"
    assert "done without them" in unlaunchable(both, own_home, tmp_path)[0]
    with pytest.raises(kept_weights.NotKept, match="are not kept here"):
        trial.trial(SECOND, both, Place(own_home, tmp_path))
    state, why = records.state_of(records.path_of(tmp_path, "both", SECOND.run_id))
    assert (state, FIRST.run_id in why) == ("failed", True)


@pytest.mark.parametrize("n_whole", [2, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 3))])
@pytest.mark.parametrize("cut", ["checkpoints", "kept"])
def test_what_a_run_keeps_survives_being_cut_off(
    cut: str, n_whole: int, own_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = Sweep("cut", (FIRST,), (), keep="all")
    save, n_saved = checkpoint.save, 0

    class Cut(BaseException):
        pass

    def cutting(path: Path, *rest: object) -> None:
        nonlocal n_saved
        if path.parent.parent.name == cut:
            n_saved += 1
            if n_saved == n_whole:
                raise Cut
        save(path, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(checkpoint, "save", cutting)
    with pytest.raises(Cut):
        trial.trial(FIRST, sweep, Place(own_home, tmp_path))
    assert not kept_weights.is_ready(FIRST, own_home)
    monkeypatch.setattr(checkpoint, "save", save)
    assert trial.trial(FIRST, sweep, Place(own_home, tmp_path)) == "done"
    index = kept_weights.index_of(FIRST, own_home)
    assert index is not None
    rows = measured(tmp_path, "cut", FIRST)
    inside = rows[(rows["split"] == "val") & (rows["metric"] == "loss") & (rows["step"] > 0)]
    assert index.losses == dict(zip(inside["step"], inside["value"], strict=True))


def test_a_flipped_bit_in_kept_weights_is_noticed(own_home: Path, tmp_path: Path) -> None:
    assert trial.trial(FIRST, Sweep("s", (FIRST,), (), keep="best"), Place(own_home, tmp_path)) == "done"
    path = next((own_home / "kept" / FIRST.run_id).glob("*.pt"))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(kept_weights.NotKept, match="damaged"):
        kept_weights.load(FIRST, own_home)


@pytest.mark.slow
def test_reprobing_gives_the_rows_of_a_run_that_had_the_task_from_the_start(own_home: Path, tmp_path: Path) -> None:
    poor, rich = (
        Sweep(name, (FIRST, SECOND), tasks, keep="all") for name, tasks in (("poor", ()), ("rich", ("ludb-rhythm",)))
    )
    for sweep in (poor, rich):
        for run in sweep.runs:
            assert trial.trial(run, sweep, Place(own_home, tmp_path)) == "done"
    for run in poor.runs:
        assert reprobe.lacking(run, poor, tmp_path, rich.tasks) == ["ludb-rhythm"]
        for _ in range(2):  # the second time replaces
            assert reprobe.reprobe(run, poor, rich.tasks, own_home, tmp_path) == [0, 2, 4, 6]
        order = ["step", "target", "split", "metric"]
        added, whole = (
            measured(tmp_path, name, run).drop(columns=["sweep", "seconds"]).sort_values(order, ignore_index=True)
            for name in ("poor", "rich")
        )
        pd.testing.assert_frame_equal(added, whole)
        assert reprobe.lacking(run, poor, tmp_path, rich.tasks) == []


SWEEP = """
from dataclasses import replace
from ecgscale.data.corpus import Slice
from ecgscale.models import ResNet
from ecgscale.objectives import Supervised
from ecgscale.spec import Evaluation, Run, Schedule
from ecgscale.spec import Sweep

FIRST = Run(ResNet(3, 4), Supervised(), Slice("ludb-sample", 1.0, "rhythm"), Schedule(steps=2, batch_size=8, lr=1e-2),
            Evaluation(every=2, probe_epochs=2))
SWEEP = Sweep("mine", (FIRST, replace(FIRST, seed=1, initial=FIRST)), tasks=(), keep="best")
"""


@pytest.fixture
def tuning_shell(shell: Shell, own_home: Path) -> Shell:
    (shell.folder / "sweeps" / "mine.py").write_text(SWEEP)
    shell.home = own_home
    shell.environment["ECGSCALE_HOME"] = str(own_home)
    return shell


@pytest.mark.slow
def test_the_verbs_of_kept_weights_end_with_what_to_type_next(tuning_shell: Shell) -> None:
    shell = tuning_shell
    runs = [line.split("\t")[0] for line in shell.type("plan", "mine").stdout.splitlines()[1:]]
    assert "GB of kept weights" in shell.type("plan", "mine").stderr
    refused = shell.type("run", "mine", runs[1])
    assert refused.returncode == 3
    assert "has no kept weights here; run: ecgscale launch mine" in refused.stderr
    nothing = shell.type("reprobe", "mine", "--task", "ludb-rhythm")
    assert (nothing.returncode, nothing.stderr.splitlines()[-1]) == (0, "next: ecgscale launch mine")
    for run_id in runs:
        assert shell.type("run", "mine", run_id).returncode == 0
    again = shell.type("reprobe", "mine", "--task", "ludb-rhythm")
    assert again.returncode == 0
    assert again.stderr.splitlines()[-2:] == [
        "2 runs probed, 0 had nothing to add, 0 not kept",
        "next: ecgscale fit mine",
    ]
    assert "did you mean 'ludb-rhythm'" in shell.type("reprobe", "mine", "--task", "ludb-rythm").stderr
    for path in (shell.home / "kept").rglob("*.pt"):
        path.unlink()
    lost = shell.type("reprobe", "mine", "--task", "ludb-rhythm")
    assert lost.returncode == 3
    assert "none of 2 runs has kept weights here" in lost.stderr


def test_no_flipped_bit_in_an_index_goes_unnoticed(tmp_path: Path) -> None:
    """Each of 200 is refused, with what to do."""
    assert kept_weights.begin(FIRST, tmp_path, "all", {"corpus_digest": "1"}, None)
    backbone = FIRST.architecture.build()
    for step, loss in ((2, 0.25), (4, 0.125)):
        kept_weights.put(FIRST, tmp_path, step, loss, backbone)
    kept_weights.finish(FIRST, tmp_path)
    path, draw = tmp_path / "kept" / FIRST.run_id / "index.json", random.Random(0)
    whole = path.read_bytes()
    for _ in range(200):
        damaged = bytearray(whole)
        damaged[draw.randrange(len(whole))] ^= 1 << draw.randrange(8)
        path.write_bytes(damaged)
        with pytest.raises(kept_weights.NotKept, match=r"index\.json is damaged .* launch its sweep again"):
            kept_weights.load(FIRST, tmp_path)
        assert not kept_weights.is_ready(FIRST, tmp_path)
    path.write_bytes(whole)
    assert kept_weights.load(FIRST, tmp_path).backbone.keys() == backbone.state_dict().keys()


@pytest.mark.parametrize(
    ("field", "value"),
    [("losses", {"99999999": 0.1}), ("losses", {"-1": 0.1}), ("losses", {"2": float("nan")}), ("losses", [0.1])]
    + [("keep", "some"), ("run", "{}"), ("inputs", None), ("extra", 1)],
)
def test_an_index_that_says_what_cannot_be_is_not_believed(tmp_path: Path, field: str, value: object) -> None:
    said = {"run": FIRST.description, "keep": "all", "inputs": {}, "losses": {"2": 0.1}, "complete": True}
    path = tmp_path / "kept" / FIRST.run_id / "index.json"
    records.write_whole(path, json.dumps(said).encode())  # as it was written before there were seals
    assert kept_weights.index_of(FIRST, tmp_path) is not None
    records.write_whole(path, json.dumps({**said, field: value}).encode())
    assert kept_weights.index_of(FIRST, tmp_path) is None


def test_a_run_that_kept_nothing_is_not_ready(tmp_path: Path) -> None:
    kept_weights.begin(FIRST, tmp_path, "best", {}, None)
    kept_weights.finish(FIRST, tmp_path)
    assert not kept_weights.is_ready(FIRST, tmp_path)
    with pytest.raises(kept_weights.NotKept, match="are not kept here"):
        kept_weights.load(FIRST, tmp_path)
