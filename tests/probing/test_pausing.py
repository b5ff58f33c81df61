"""A wish to pause is heard in every part of an evaluation: what is computed between two looks for one."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from torch.nn.modules.module import register_module_forward_pre_hook

from ecgscale import trial
from ecgscale.attempt import Attempt, Place
from ecgscale.models import Backbone
from ecgscale.probing import external
from ecgscale.probing.heads import _Known
from ecgscale.spec.run import Evaluation
from ecgscale.spec.sweep import Sweep
from ecgscale.spec.tasks import TASKS

CLEAN = TASKS["ludb-rhythm"]
LIMB = replace(CLEAN, name="ludb-rhythm+limb", leads=("I", "II"))
REPLICATES = 20


def test_at_most_one_batch_is_computed_between_two_looks_for_a_pause(
    tiny_sweep: Sweep, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a run measured by its losses, its head, both kinds of probes, with leads left out, and on others' labels."""
    evaluation = Evaluation(every=6, probe_epochs=3, convex=True)
    run = replace(tiny_sweep.runs[0], evaluation=evaluation)
    tasks = (CLEAN, LIMB, TASKS["ludb-rhythm-head"])
    sweep = Sweep("tiny", (run,), tasks=tasks, label_sets=("rhythm",))
    events: list[str] = []
    evaluations: list[str] = []

    def look() -> bool:
        events.append("-")
        return False

    def few(*given: Any) -> Any:
        before = len(events)
        found = compared(*given, replicates=REPLICATES)
        evaluations.append("bootstrap")
        assert len(events) - before > REPLICATES
        return found

    def counted(measurement: Any, snapshot: Any, *processes: Any) -> Any:
        events.clear()
        hook = register_module_forward_pre_hook(
            lambda module, _: (
                events.append("b") if isinstance(module, Backbone) and not isinstance(module, _Known) else None
            )
        )
        found = measured(measurement, snapshot, *processes)
        hook.remove()
        evaluations.append("".join(events))
        return found

    compared, measured = external.label_aurocs, trial.Measurement.rows
    monkeypatch.setattr(external, "label_aurocs", few)
    monkeypatch.setattr(trial.Measurement, "rows", counted)
    assert trial.trial(run, sweep, Place(home, tmp_path), attempt=Attempt(pause=look)) == "done"
    assert evaluations[::2] == ["bootstrap"] * 2
    first = evaluations[1]
    assert (
        first.count("b") >= 7
    )  # validation and test, both again for the head, a probe twice, and the stranger's labels
    assert "bb" not in first
    assert first.count("-") > 100  # steps of probes, and replicates
