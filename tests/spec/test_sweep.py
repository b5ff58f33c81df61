"""Runs and sweeps as values: identity, and one sentence for what a person mistyped."""

import json
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest

from ecgscale import records
from ecgscale.data.corpus import Slice
from ecgscale.data.noise import KINDS
from ecgscale.models import Codebook, ResNet, Transformer
from ecgscale.objectives import CMSC, Masked, Supervised
from ecgscale.spec.override import set_fields
from ecgscale.spec.rates import size_of
from ecgscale.spec.run import Evaluation, Run, Schedule
from ecgscale.spec.sweep import Sweep, load
from ecgscale.spec.tasks import measurable, robustness
from tests.descriptions import described
from tests.paths import HOUSE
from tests.runs import RESNET_SL, RESNET_SSL, TRANSFORMER_SSL

SHIPPED = sorted(path.stem for path in (HOUSE / "sweeps").glob("[!_]*.py"))


# Identities that results may already be filed under: a change here orphans them.
@pytest.mark.parametrize(
    ("run", "run_id"),
    [(RESNET_SL, "c56a08152e1a"), (RESNET_SSL, "29132ff848d4"), (TRANSFORMER_SSL, "a58d15ef9f2c")],
)
def test_identities_are_pinned(run: Run, run_id: str) -> None:
    assert run.run_id == run_id


def test_identity_is_the_hash_of_the_description() -> None:
    assert RESNET_SL.run_id == records.run_id_of(RESNET_SL.description)
    assert "schedule" not in RESNET_SL.description  # defaults are left out


def test_a_revision_is_part_of_every_identity_that_it_enters() -> None:
    """What the same fields compute now is not what they computed before: of probes in all runs, of others in theirs."""
    assert '"evaluation":{"revision":2}' in RESNET_SL.description
    assert '"architecture":{"depth":3,"kind":"resnet","width":24}' in RESNET_SL.description
    told = json.loads(TRANSFORMER_SSL.description)
    assert told["architecture"]["revision"] == told["objective"]["revision"] == 2
    assert told["objective"]["codebook"] == {"corpus": "mimic", "revision": 2}


def test_names_are_for_people() -> None:
    assert RESNET_SL.name == "resnet-sl 3x24 1 s0"
    assert RESNET_SSL.configuration == "resnet-ssl"


def test_runs_of_one_name_are_told_apart_by_what_differs() -> None:
    """Four learning rates a cell are four lines of a plan: a person has to see which is which."""
    rates = tuple(replace(RESNET_SL, schedule=replace(RESNET_SL.schedule, lr=lr)) for lr in (1e-3, 3e-3))
    sweep = Sweep("mine", (RESNET_SSL, *rates), ())
    assert sweep.names[rates[0].run_id] == "resnet-sl 3x24 1 s0 lr 0.001"
    assert sweep.names[rates[1].run_id] == "resnet-sl 3x24 1 s0 lr 0.003"
    assert sweep.names[RESNET_SSL.run_id] == RESNET_SSL.name
    codebooks = [Masked(Codebook("mimic", steps=steps)) for steps in (10, 20)]
    both = tuple(replace(TRANSFORMER_SSL, objective=masked) for masked in codebooks)
    assert [name.split(" s0 ")[1] for name in Sweep("mine", both, ()).names.values()] == ["steps 10", "steps 20"]


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        ((ResNet(3, 8), Masked(Codebook("mimic")), Slice("code")), "a resnet reads signal, but masked needs beats"),
        ((Transformer(1, 8, 1, 8), CMSC(), Slice("code")), "a transformer reads beats, but cmsc needs signal"),
        ((ResNet(3, 8), Supervised(), Slice("code")), "supervised needs labels"),
        ((Transformer(1, 8, 1, 8, n_tokens=64), Masked(Codebook("m")), Slice("code")), "256 tokens"),
    ],
)
def test_parts_that_do_not_fit_are_refused(parts: tuple[object, ...], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Run(*parts)  # type: ignore[arg-type]


@pytest.mark.parametrize("fraction", [0, -0.5, 1.5])
def test_fractions_are_fractions(fraction: float) -> None:
    with pytest.raises(ValueError, match="fraction"):
        Slice("code", fraction)


def test_a_sweep_holds_a_run_once() -> None:
    with pytest.raises(ValueError, match="twice"):
        Sweep("s", (RESNET_SL, RESNET_SL), ())


def test_runs_are_found_by_the_beginning_of_their_id() -> None:
    sweep = Sweep("s", (RESNET_SL, RESNET_SSL), ())
    assert sweep.run(RESNET_SL.run_id[:6]) is RESNET_SL
    with pytest.raises(ValueError, match="has no run"):
        sweep.run("zzz")


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_sweeps_load_and_each_of_their_tasks_is_for_some_run(name: str) -> None:
    sweep = load(name)
    assert sweep.name == name
    assert len({run.run_id for run in sweep.runs}) == len(sweep.runs)
    assert all(described(run.description) == run for run in sweep.runs)
    for task in sweep.tasks:
        assert any(measurable([task], run) for run in sweep.runs), f"no run can be measured on {task}"


@pytest.mark.parametrize(
    ("name", "n_configurations", "n_sizes", "n_fractions"),
    [("demo", 4, 3, 3), ("sample_study", 4, 4, 5), ("architectures_sample", 5, 4, 4), ("architectures", 12, 5, 5)],
)
def test_studies_whose_cells_are_a_grid_give_a_joint_law_enough(
    name: str, n_configurations: int, n_sizes: int, n_fractions: int
) -> None:
    sweep = load(name)
    by_configuration: dict[str, list[tuple[int, float]]] = {}
    for run in sweep.runs:
        cell = (size_of(run.architecture), run.slice.fraction)
        by_configuration.setdefault(run.configuration, []).append(cell)
    assert len(by_configuration) == n_configurations
    for cells in by_configuration.values():
        sizes, fractions = (sorted(set(values)) for values in zip(*cells, strict=True))
        assert set(cells) == set(product(sizes, fractions))
        assert len(sizes) >= n_sizes
        assert len(fractions) >= n_fractions
        assert sizes[-1] >= 9 * sizes[0]
        assert fractions[-1] >= 10 * fractions[0]
    most = sorted(len(set(cells)) for cells in by_configuration.values())
    assert min(most[1:]) >= 12  # of three configurations at least, for five coefficients


def test_the_grid_is_the_papers() -> None:
    sweep = load("code_grid")
    assert len(sweep.runs) == 120
    assert len(sweep.tasks) == 11
    assert all(run.schedule == Schedule() and run.evaluation == Evaluation() for run in sweep.runs)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("SWEEP = 1", "assigns no Sweep"),
        (
            "from ecgscale.models import ResNet\nResNet(3, 24, kernl=3)",
            "line 2: ResNet has no field 'kernl'; did you mean 'kernel'",
        ),
        (
            "from ecgscale.spec.run import Schedule\n\nSchedule(stps=3)",
            "line 3: Schedule has no field 'stps'; did you mean 'steps'",
        ),
        ("def", "line 1"),
        ("from ecgscale.spec.sweep import Sweep\nSWEEP = Sweep('other', (), ())", "calls its sweep 'other'"),
        ("from ecgscale.spec.sweep import Sweep\nSWEEP = Sweep('mine', (), ())", "mine.py holds no runs"),
        (
            "from ecgscale.spec.sweep import Sweep\nSWEEP = Sweep('mine', (1,), ())",
            r"Sweep\.runs holds 1, expected a Run",
        ),
        ("import sys\n\nsys.exit(0)", "line 3: it calls exit; it is to assign SWEEP"),
        ("import nowhere_at_all", "line 1: No module named 'nowhere_at_all'"),
        (
            "from ecgscale.data.corpus import Slice\nfrom ecgscale.models import ResNet\n"
            "from ecgscale.objectives import CMSC\nfrom ecgscale.spec import Run\nRun(ResNet(3, 4), CMSC, Slice('a'))",
            r"line 5: a run's objective is the class CMSC; write CMSC\(\.\.\.\)",
        ),
    ],
)
def test_a_mistake_in_a_sweep_file_is_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    file = tmp_path / "mine.py"
    file.write_text(text)
    with pytest.raises(ValueError, match=sentence) as raised:
        load(str(file))
    assert "mine.py" in str(raised.value)
    assert str(tmp_path) not in str(raised.value)
    assert "\n" not in str(raised.value)


RUN = "ResNet(3, 8), Supervised(), Slice('ludb-sample', 0.3, 'rhythm')"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("Sweep('mine', (R,), (), kep='best')", "line 10: Sweep has no field 'kep'; did you mean 'keep'?"),
        ("Sweep('mine', (R,), (), **{'kep': 'best'})", "line 10: Sweep has no field 'kep'; did you mean 'keep'?"),
        ("Sweep('mine', (R,), (), keep='bset')", "line 10: sweep mine: keep='bset'; did you mean 'best'?"),
        ("Sweep('mine', (R,), (), keep=NAMES)", "Sweep.keep is ['rhythm'], expected a text"),
        ("Sweep('mine', (R,), (), micro_batches='no')", "Sweep.micro_batches is 'no', expected True or False"),
        ("Sweep('mine', R, ())", "Sweep.runs is a Run, expected a tuple, each a Run"),
        ("Sweep('mine', (R,), 'ludb-rhythm')", "Sweep.tasks is 'ludb-rhythm', expected a tuple, each a text or a Task"),
        ("Sweep('mine', (R,), (), ('rhythm'))", "Sweep.label_sets is 'rhythm', expected a tuple, each a text"),
        ("Sweep('mine', (R,))", "Sweep is not given its field 'tasks'"),
        ("Sweep('mine', (R,), (), (), 'best', 'auto', True, 3)", "Sweep has 7 fields (name, runs, tasks, "),
        ("Sweep('mine', (R,), (Task('a', 'b', 'c', 'A', unti='beat'),))", "Task has no field 'unti'"),
        ("Sweep('mine', (R,), (Task('a', 'b', 'c', 'E'),))", "task 'a': domain='E'; there are A, B, C, D"),
        (f"Run({RUN}, S(stps=3))", "Schedule has no field 'stps'; did you mean 'steps'?"),
        (f"Run({RUN}, S(steps=THOUSAND))", "Schedule.steps is 1000.0, expected a whole number"),
        (f"Run({RUN}, S(lr=str(0.1)))", "Schedule.lr is '0.1', expected a number or None"),
        (f"Run({RUN}, S(decay='wds'))", "Schedule.decay is 'wds'; did you mean 'wsd'?"),
        (
            f"Run({RUN}, S(budgets=[10], decay='wsd'))",
            "Schedule.budgets is [10], expected a tuple, each a whole number",
        ),
        (f"Run({RUN}, Evaluation())", "Run.schedule is a Evaluation, expected a Schedule"),
        (f"Run({RUN}, seed=-1)", "Run.seed is -1; a seed is 0 or above"),
        ("replace(R, sed=1)", "Run has no field 'sed'; did you mean 'seed'?"),
        ("replace(R.architecture, width=str(8))", "ResNet.width is '8', expected a whole number"),
        (f"Run(Own(widht=8), {RUN.partition('), ')[2]})", "Own has no field 'widht'; did you mean 'width'?"),
        ("Resnet(3, 8)", "name 'Resnet' is not defined; did you mean 'ResNet'?"),
        ("spec.Sched()", "module 'ecgscale.spec' has no attribute 'Sched'; did you mean 'Schedule'?"),
    ],
)
def test_every_description_names_its_field_and_the_nearest(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "mine.py").write_text(
        "from dataclasses import dataclass, replace\nfrom ecgscale.data.corpus import Slice\n"
        "from ecgscale.models import ResNet\nfrom ecgscale.objectives import Supervised\nfrom ecgscale import spec\n"
        "from ecgscale.spec import Evaluation, Run, Schedule as S, Sweep, Task\n"
        "@dataclass\nclass Own: width: int\n"
        f"R, NAMES, THOUSAND = Run({RUN}), ['rhythm'], 1e3\nSWEEP = {text}\n"
    )
    with pytest.raises(ValueError, match=r"^sweep file mine\.py, line 10: ") as raised:
        load(str(tmp_path / "mine.py"))
    assert sentence in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_name_that_cannot_be_imported_is_named_without_a_path(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("from ecgscale.spec import Scedule\n")
    with pytest.raises(
        ValueError, match=r"line 1: cannot import name 'Scedule' from 'ecgscale\.spec'; did you mean 'Schedule'\?$"
    ):
        load(str(tmp_path / "mine.py"))


def test_a_sweep_takes_its_runs_as_a_list_or_a_generator() -> None:
    wanted = Sweep("s", (RESNET_SL, RESNET_SSL), ())
    assert Sweep("s", [RESNET_SL, RESNET_SSL], []) == wanted  # type: ignore[arg-type]
    assert Sweep("s", (run for run in wanted.runs), ()) == wanted  # type: ignore[arg-type]


def test_a_sweep_that_is_not_there_names_the_nearest() -> None:
    with pytest.raises(ValueError, match="no sweep 'demmo' in sweeps/; did you mean 'demo'"):
        load("demmo")


def test_all_mistakes_in_a_sweep_file_are_named_at_once(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from ecgscale.models import ResNet\nfrom ecgscale.spec.run import Schedule\n"
        "ResNet(3, '24')\nResNet(3, 24, kernl=3)\nSchedule(steps=2.5, lr='fast', warmup=0)\n"
    )
    with pytest.raises(ValueError, match=r"^sweep file mine.py, line 3: ") as raised:
        load(str(file))
    assert str(raised.value).split("; ", 1)[1].count("line ") == 3
    for sentence in (
        "line 3: ResNet.width is '24', expected a whole number",
        "line 4: ResNet has no field 'kernl'; did you mean 'kernel'?",
        "line 5: Schedule.steps is 2.5, expected a whole number",
        "line 5: Schedule.lr is 'fast', expected a number or None",
    ):
        assert sentence in str(raised.value)


def test_set_fields_makes_other_runs_under_other_ids() -> None:
    sweep = Sweep("s", (RESNET_SL, RESNET_SSL), ())
    changed = set_fields(sweep, ["schedule.steps=100", "seed=3", "slice.fraction=0.5", "schedule.lr=none"])
    assert {run.schedule.steps for run in changed.runs} == {100}
    assert {(run.seed, run.slice.fraction, run.schedule.lr) for run in changed.runs} == {(3, 0.5, None)}
    assert not {run.run_id for run in changed.runs} & {run.run_id for run in sweep.runs}
    assert set_fields(sweep, ["schedule.steps=100000"]).runs == sweep.runs


def test_every_wrong_change_is_named_at_once() -> None:
    sweep = Sweep("s", (RESNET_SL,), ())
    with pytest.raises(ValueError, match=r"did you mean 'schedule\.steps'") as raised:
        set_fields(sweep, ["steps=1", "seed=one", "schedule.warmup", "slice.fractoin=1"])
    for sentence in ("seed is 'one', expected a whole number", "write FIELD=VALUE", "did you mean 'slice.fraction'"):
        assert sentence in str(raised.value)
    with pytest.raises(ValueError, match="steps is at least 1"):
        set_fields(sweep, ["schedule.steps=0"])


def test_the_foundation_models_are_asked_what_their_sources_asked() -> None:
    """Seven ViTs on three corpora, without each kind of noise; five Net1Ds and single leads; both sources' tasks."""
    sweep = load("foundation")
    vits, nets = ([run for run in sweep.runs if run.architecture.kind == kind] for kind in ("vit", "net1d"))
    mixed = [run for run in vits if set(dict(run.slice.mix)) == {"heedb", "icentia11k"}]
    assert len({run.architecture.size for run in mixed}) == 7
    assert {getattr(run.objective, "noise", None) for run in mixed} == {
        tuple(KINDS),
        *(tuple(kind for kind in KINDS if kind != absent) for absent in KINDS),
        (),
    }
    assert len({run.architecture.size for run in nets if run.slice.label_set == "12sl"}) == 5
    assert {(getattr(run.architecture, "leads", 0), run.slice.label_set) for run in nets} == {
        (leads, labels) for leads in (12, 1) for labels in ("12sl", "code6")
    }
    assert {"ptbxl-diag", "mitbih-beats", "code-test-head@ecgfounder", "cinc2017-rhythm-head@ecgfounder"} < set(
        sweep.tasks
    )
    for name in ("ptbxl-diag", "mitbih-beats"):
        assert set(robustness(name)) <= set(sweep.tasks)


def test_of_many_names_the_nearest_are_named() -> None:
    from ecgscale.phrases import did_you_mean
    from ecgscale.spec.tasks import TASKS

    said = did_you_mean("zzz-rhythm-of-nothing", TASKS)
    assert said.startswith(f"; of {len(TASKS)} there are, the nearest are ")
    assert len(said.split(", ")) == 7
