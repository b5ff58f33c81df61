"""Verbs of design: which runs to do next, what a grid would identify, and what adaptive design would save."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ecgscale.cli.door import (
    RESULTS,
    Home,
    Json,
    Results,
    SweepName,
    above_0,
    app,
    home_of,
    name_bad,
    not_below_0,
    print_json,
)
from ecgscale.cli.selecting import Changes, Only, selected, typed
from ecgscale.cli.terminal import say, show, table, where
from ecgscale.phrases import did_you_mean, si

if TYPE_CHECKING:
    import pandas as pd

    from ecgscale.pricing.cells import Cell
    from ecgscale.spec.run import Run
    from ecgscale.spec.sweep import Sweep

EACH = "alpha+beta"
BATCH = 12  # runs a configuration: then is the time to look again
OneConfiguration = Annotated[
    str | None, typer.Option("--configuration", help="R-SL, R-SSL, T-SL, T-SSL, or another by name; all if left out.")
]


@app.command(rich_help_panel="Before: price and prepare")
def suggest(
    sweep: SweepName,
    budget: Annotated[float, typer.Option(help="Training compute to spend, in FLOP.", callback=above_0)],
    wanted: Annotated[
        str, typer.Option("--for", help="What to narrow: alpha, beta, allocation, or several joined by +.")
    ] = EACH,
    configuration: OneConfiguration = None,
    target: Annotated[str | None, typer.Option(help="A probe task; the pretraining corpus if left out.")] = None,
    n_runs: Annotated[int, typer.Option("--runs", min=1, help="At most so many runs a configuration.")] = BATCH,
    results: Results = RESULTS,
    home: Home = None,
    select: Annotated[str, typer.Option(help="Split that picks the best step: val or test.")] = "val",
    as_json: Json = False,
    code: Annotated[bool, typer.Option("--code", help="Print Python for the end of the sweep's file instead.")] = False,
    only: Only = None,
    changes: Changes = None,
) -> None:
    """Propose the next runs: those that narrow the intervals of exponents most per FLOP, from the runs done so far.

    The budget is split evenly among configurations. Train what is proposed, then ask again: each answer is only as good
    as the law that the runs so far suggest.
    """
    import pandas as pd

    from ecgscale.analysis.observations import observations
    from ecgscale.analysis.planning.adaptive import PRIOR
    from ecgscale.analysis.planning.adaptive import suggest as designed
    from ecgscale.analysis.table.query import as_json as rendered
    from ecgscale.pricing.cells import as_code, cells
    from ecgscale.pricing.plan import checked

    loaded, asked = selected(sweep, changes, only, home, results), wanted.split("+")
    groups = _groups(cells(loaded, checked(loaded, home_of(home))), configuration)
    observed = observations(results, [loaded.name], select)
    done = set(observed["run_id"])
    if target and target not in (targets := {*loaded.task_names, *(corpus for _, corpus, _ in groups)}):
        raise ValueError(f"sweep {loaded.name} is not measured on {target!r}{did_you_mean(target, sorted(targets))}")
    runs: list[Run] = []
    chosen, intervals = [], []
    for (name, corpus, labels), pool in groups.items():
        facts = {"configuration": name, "corpus": corpus, "label_set": labels, "target": target or corpus}
        points = observed[(observed[list(facts)].fillna("") == pd.Series(facts)).all(axis=1)]
        bought, now = designed(points[["N", "D", "loss"]], _priced(pool, done), budget / len(groups), asked, n_runs)
        picked = _runs(pool, bought["cell"].astype(int).tolist(), done)
        runs += picked
        intervals.append(now.assign(**facts))
        chosen.append(_described(picked, loaded).join(bought.drop(columns="cell")))
    then, now = pd.concat(chosen, ignore_index=True), pd.concat(intervals, ignore_index=True)
    new = [run for run in runs if run not in loaded.runs]
    if code:
        show(as_code(loaded, new) if new else "# every run proposed is in the sweep already\n", end="")
        return
    if as_json:
        print_json({"runs": json.loads(rendered(then)), "intervals": json.loads(rendered(now))})
        return
    table(
        ["run", "name", "N", "D", "FLOPs", *(f"{name} then" for name in asked)],
        [
            (row["run_id"], row["name"], si(row["N"]), si(row["D"]), si(row["flops"]))
            + tuple(_ends(row[f"{name}_low"], row[f"{name}_high"]) for name in asked)
            for row in then.to_dict("records")
        ],
    )
    for row in now.to_dict("records"):
        say(_expectation(row))
    if observed.empty:
        say(f"nothing is measured yet, so the prior stands in: {PRIOR}")
    say(f"{len(runs)} runs, {si(then['flops'].sum())}FLOP; {len(runs) - len(new)} are in the sweep already")
    options = {"for": wanted if wanted != EACH else None, "configuration": configuration, "target": target}
    options["runs"] = str(n_runs) if n_runs != BATCH else None
    told = "".join(f" --{name} {value}" for name, value in options.items() if value)
    say(f"next: ecgscale suggest {typed(sweep, changes, only)} --budget {budget:g}{told} --code >> {_file(sweep)}")
    name_bad(observed.attrs["bad"])


@app.command(rich_help_panel="Before: price and prepare")
def simulate(
    sweep: SweepName,
    results: Results = RESULTS,
    home: Home = None,
    floor: Annotated[float, typer.Option("--floor", help="E, the irreducible loss.", callback=not_below_0)] = 0.05,
    alpha: Annotated[float, typer.Option(help="Exponent of N.", callback=above_0)] = 0.35,
    beta: Annotated[float, typer.Option(help="Exponent of D.", callback=above_0)] = 0.45,
    amplitude_n: Annotated[float, typer.Option("--a", help="A, the amplitude of N.", callback=above_0)] = 3.0,
    amplitude_d: Annotated[float, typer.Option("--b", help="B, the amplitude of D.", callback=above_0)] = 20.0,
    noise: Annotated[float, typer.Option(help="Standard deviation of ln(loss).", callback=not_below_0)] = 0.01,
    n_sweeps: Annotated[int, typer.Option(min=1, help="Simulated sweeps a configuration.")] = 400,
    adaptive: Annotated[
        bool, typer.Option("--adaptive", help="Instead: what would adaptive design save, on laws of the paper's range?")
    ] = False,
    n_laws: Annotated[int, typer.Option("--laws", min=1, help="With --adaptive: planted laws a configuration.")] = 20,
    configuration: OneConfiguration = None,
    figure: Annotated[
        Path | None, typer.Option(metavar="DIR", help="With --adaptive: draw it into this folder.")
    ] = None,
    as_json: Json = False,
    only: Only = None,
    changes: Changes = None,
) -> None:
    """Plant a law, draw a sweep's grid from it, refit: does this grid identify the exponents, and how well?"""
    import pandas as pd

    from ecgscale.analysis.planning.coverage import simulate as simulated
    from ecgscale.analysis.table.query import as_json as rendered
    from ecgscale.analysis.table.query import as_text
    from ecgscale.pricing.plan import plan

    loaded = selected(sweep, changes, only, home, results)
    if adaptive:
        _race(loaded, home_of(home), configuration, n_laws, noise, figure, as_json)
        return
    planted = {"E": floor, "A": amplitude_n, "alpha": alpha, "B": amplitude_d, "beta": beta}
    priced = plan(loaded, home_of(home), results)
    answers = []
    for name in _chosen(list(priced["configuration"].unique()), configuration):
        runs = priced[priced["configuration"] == name]
        grid = runs.rename(columns={"n_params": "N", "n_samples": "D"})[["N", "D"]].astype(float)
        answer = simulated(grid, planted, noise, n_sweeps=n_sweeps)
        answer.insert(0, "configuration", name)
        answers.append(answer)
    table_ = pd.concat(answers, ignore_index=True)
    show(rendered(table_) if as_json else as_text(table_))
    say(f"{n_sweeps} simulated sweeps a configuration; nothing of this enters results")


def _race(
    loaded: "Sweep",
    home: Path,
    configuration: str | None,
    n_laws: int,
    noise: float,
    figure: Path | None,
    as_json: bool,
) -> None:
    """Adaptive design against the sweep's own grid, configuration by configuration."""
    import pandas as pd

    from ecgscale.analysis.planning.adaptive_vs_grid import compare_designs, reached
    from ecgscale.analysis.table.query import as_json as rendered
    from ecgscale.analysis.table.query import as_text
    from ecgscale.pricing.cells import cells
    from ecgscale.pricing.plan import checked

    groups = _groups(cells(loaded, checked(loaded, home)), configuration)
    compared = []
    for (name, corpus, labels), pool in groups.items():
        priced = {(cell.run.architecture, cell.run.slice.fraction): cell for cell in pool}
        own = [
            run
            for run in loaded.runs
            if (run.configuration, run.slice.name, run.slice.label_set) == (name, corpus, labels)
        ]
        grid = _priced([priced[run.architecture, run.slice.fraction] for run in own], set())
        compared.append(compare_designs(grid, _priced(pool, set()), n_laws, noise).assign(configuration=name))
    every = pd.concat(compared, ignore_index=True).assign(law=lambda t: t.groupby(["configuration", "law"]).ngroup())
    arrived = reached(every).merge(every[["law", "configuration"]].drop_duplicates(), on="law")
    grouped = arrived.groupby(["configuration", "design"], sort=False)
    summary = grouped.agg(
        laws=("law", "size"),
        reached=("flops", lambda f: int((f <= 1).sum())),
        flops_share=("flops", "median"),
        worst=("flops", "max"),
        n_runs=("n_runs", "median"),
    ).reset_index()
    covered = every.groupby(["configuration", "design"])[["alpha_covered", "beta_covered"]].mean().reset_index()
    summary = summary.merge(covered, on=["configuration", "design"])
    show(rendered(summary) if as_json else as_text(summary), end="")
    say("flops_share: compute for both intervals to be as narrow as the whole grid's, over the grid's; median of laws")
    if figure:
        from ecgscale.analysis.figures.design import draw
        from ecgscale.analysis.figures.figure import write

        which = configuration or f"{len(groups)} configurations"
        for path in write(draw(every, f"grid of sweep {loaded.name}, {which}"), "design", figure, ["png"]):
            print(where(path))
    say(f"{n_laws} planted laws a configuration; nothing of this enters results")


def _groups(found: "Sequence[Cell]", configuration: str | None) -> "dict[tuple[str, str, str], list[Cell]]":
    """Cells by configuration, corpus and label set, of one configuration or all."""
    groups: dict[tuple[str, str, str], list[Cell]] = {}
    for cell in found:
        groups.setdefault(cell.group, []).append(cell)
    names = set(_chosen([name for name, _, _ in groups], configuration))
    return {key: pool for key, pool in groups.items() if key[0] in names}


def _chosen(names: list[str], configuration: str | None) -> list[str]:
    """Configurations of a sweep: all, or the one asked for. Raises ValueError with the nearest for one not in it."""
    from ecgscale.analysis.naming import configuration_named

    if configuration is None:
        return list(dict.fromkeys(names))
    name = configuration_named(configuration)
    if name not in names:
        raise ValueError(f"the sweep has no configuration {configuration!r}{did_you_mean(name, dict.fromkeys(names))}")
    return [name]


def _priced(pool: "Sequence[Cell]", done: set[str]) -> "pd.DataFrame":
    """Cells as the design reads them: N, D, flops, and how many runs of each are left to buy."""
    import pandas as pd

    from ecgscale.analysis.planning.adaptive import SEEDS
    from ecgscale.pricing.cells import seeds

    return pd.DataFrame(
        {
            "cell": range(len(pool)),
            "N": [float(cell.n_params) for cell in pool],
            "D": [float(cell.n_samples) for cell in pool],
            "flops": [cell.flops for cell in pool],
            "left": [SEEDS - sum(run.run_id in done for run in seeds(cell.run, SEEDS)) for cell in pool],
        }
    )


def _runs(pool: "Sequence[Cell]", bought: list[int], done: set[str]) -> "list[Run]":
    """A run for each cell bought, in order: its lowest seed that is neither done nor bought before."""
    from ecgscale.analysis.planning.adaptive import SEEDS
    from ecgscale.pricing.cells import seeds

    free = {i: [run for run in seeds(pool[i].run, SEEDS) if run.run_id not in done] for i in set(bought)}
    return [free[i].pop(0) for i in bought]


def _described(runs: "Sequence[Run]", sweep: "Sweep") -> "pd.DataFrame":
    import pandas as pd

    return pd.DataFrame(
        [
            {
                "run_id": run.run_id,
                "name": sweep.names.get(run.run_id, run.name),
                "configuration": run.configuration,
                "size": run.architecture.size,
                "fraction": run.slice.fraction,
                "seed": run.seed,
                "in_sweep": run in sweep.runs,
            }
            for run in runs
        ]
    )


def _expectation(row: dict[Any, Any]) -> str:
    """What is known of a quantity now, how that is known, and what to expect after the runs."""
    if row["measured_low"] == row["measured_low"]:
        now = f"{_ends(row['measured_low'], row['measured_high'])}, measured on {row['n_runs']} runs"
    else:
        now = f"not known from {row['n_runs']} runs"
    after = f"then expected: {_ends(row['after_low'], row['after_high'])}"
    return f"{row['configuration']} on {row['target']}: {row['quantity']} {now}; {after}"


def _ends(low: float, high: float) -> str:
    return f"{low:.3f} to {high:.3f}" if low == low else "–"


def _file(sweep: str) -> str:
    from ecgscale.spec.sweep import sweep_files

    return sweep if sweep.endswith(".py") else where(sweep_files()[sweep])
