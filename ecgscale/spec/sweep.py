"""A sweep: a name and a tuple of distinct runs, assigned to SWEEP in a Python file."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

from ecgscale import beside
from ecgscale.beside import sweep_files
from ecgscale.models import Codebook
from ecgscale.phrases import did_you_mean
from ecgscale.spec.check import mistakes
from ecgscale.spec.errors import line_of, what
from ecgscale.spec.run import PRECISIONS, Run, parts_of
from ecgscale.spec.tasks import Task, mistakes_in, task_of
from ecgscale.spec.types import misfits

KEEPS = ("none", "best", "all")


@dataclass(frozen=True)
class Sweep:
    """Runs to be trained, and what is measured and kept of each (which changes no run's identity).

    Raises ValueError if two runs are the same, if one starts from another whose weights the sweep does not keep, and
    for a task of its own that is called like another.
    """

    name: str
    runs: tuple[Run, ...]
    tasks: tuple[str | Task, ...]  # probed on, out of distribution: names of shipped ones, and one's own
    label_sets: tuple[str, ...] = ()  # of the runs' own corpora: what supervised heads are scored on, in distribution
    keep: str = "none"  # backbones of finished evaluations: none, the best by ID validation loss, or all
    evaluation_precision: str = "auto"  # fp32, bf16, or auto as a schedule's: of all its runs, and in their files
    micro_batches: bool = False  # whether BatchNorm may see parts of a batch, in runs that fit on no GPU otherwise
    # Tasks that a launch leaves for later, as their corpora are not prepared (see pricing.obstacles.begun_without).
    left_out: tuple[str | Task, ...] = field(default=(), kw_only=True)

    def __post_init__(self) -> None:
        for name in ("runs", "tasks", "label_sets", "left_out"):
            if isinstance(several := getattr(self, name), list | Iterator):
                object.__setattr__(self, name, tuple(several))
        if wrong := misfits(self):
            raise ValueError("; ".join(wrong))
        if self.keep not in KEEPS:
            raise ValueError(f"sweep {self.name}: keep={self.keep!r}{did_you_mean(self.keep, KEEPS)}")
        if self.evaluation_precision not in PRECISIONS:
            meant = did_you_mean(self.evaluation_precision, PRECISIONS)
            raise ValueError(f"sweep {self.name}: evaluation_precision={self.evaluation_precision!r}{meant}")
        seen: dict[str, Run] = {}
        for run in self.runs:
            if run.run_id in seen:
                raise ValueError(f"sweep {self.name} holds {run.name} ({run.run_id}) twice; runs are distinct")
            seen[run.run_id] = run
        for run in self.runs:
            if self.keep == "none" and run.initial is not None and run.initial.run_id in seen:
                raise ValueError(
                    f"sweep {self.name}: {run.name} starts from {run.initial.name} of the same sweep, "
                    'whose weights are not kept; give the sweep keep="best"'
                )
        kinds: dict[str, type] = {}
        for part in (part for run in self.runs for part in parts_of(run)):
            if kinds.setdefault(part.kind, type(part)) is not type(part):
                raise ValueError(f"sweep {self.name}: two different classes call themselves {part.kind!r}")
        if wrong := mistakes_in(
            [*self.tasks, *self.left_out], [name for run in self.runs for name in run.slice.corpora]
        ):
            raise ValueError(f"sweep {self.name}: {'; '.join(wrong)}")

    def task(self, name: str) -> Task:
        """A task by its name: one of the sweep's own, or a shipped one. Raises ValueError with the nearest name."""
        return task_of(name, {task.name: task for task in self.tasks if isinstance(task, Task)})

    @cached_property
    def names(self) -> dict[str, str]:
        """For people, by run id: a run's name, with what tells it from others of that name: "... s0 lr 0.003"."""
        alike: dict[str, list[Run]] = defaultdict(list)
        for run in self.runs:
            alike[run.name].append(run)
        found = {}
        for name, runs in alike.items():
            told = [dict(_leaves(run)) for run in runs]
            paths = dict.fromkeys(path for leaves in told for path in leaves)
            differ = [path for path in paths if len({leaves.get(path, "") for leaves in told}) > 1]
            for run, leaves in zip(runs, told, strict=True):
                facts = [f"{path[-1]} {leaves[path]}" for path in differ if path in leaves]
                found[run.run_id] = " ".join([name, *facts])
        return found

    @property
    def task_names(self) -> tuple[str, ...]:
        return tuple(task if isinstance(task, str) else task.name for task in self.tasks)

    @property
    def sources(self) -> beside.Sources:
        """Sources of the file and the modules that its architectures and objectives come from, if they are not ours."""
        return beside.sources_of(type(part) for run in self.runs for part in parts_of(run))

    @property
    def codebooks(self) -> tuple[Codebook, ...]:
        """The distinct codebooks that its runs' objectives read."""
        return tuple(dict.fromkeys(run.objective.codebook for run in self.runs if run.objective.codebook is not None))

    def run(self, run_id: str) -> Run:
        """The run of this id, or of a beginning of it that no other has. Raises ValueError if there is none."""
        matches = [run for run in self.runs if run.run_id.startswith(run_id)]
        if len(matches) == 1:
            return matches[0]
        known = [run.run_id for run in self.runs]
        if matches:
            raise ValueError(f"{run_id!r} begins {len(matches)} run ids of sweep {self.name}; type more of it")
        raise ValueError(f"sweep {self.name} has no run {run_id!r}{did_you_mean(run_id, known) if known else ''}")


def stages(runs: Sequence[Run]) -> list[tuple[Run, ...]]:
    """Runs in an order in which each comes after the run that it starts from, if that is among them."""
    among = {run.run_id for run in runs}

    def depth(run: Run) -> int:
        return 0 if run.initial is None else depth(run.initial) + (run.initial.run_id in among)

    found = sorted({depth(run) for run in runs})
    return [tuple(run for run in runs if depth(run) == d) for d in found]


class Misspelt(ValueError):
    """A sweep file names fields or values that there are not."""


def defined() -> Iterator[Sweep]:
    """Every sweep of these files that loads."""
    for path in sweep_files().values():
        try:
            with beside.kept():
                sweep = load(str(path))
        except ValueError:
            continue  # somebody's work in progress
        yield sweep


def load(name: str) -> Sweep:
    """Load a sweep from its file or its stem.

    Raises ValueError, in one sentence that names the file, for one that is not there or does not define a SWEEP.
    """
    path = Path(name)
    files = {p.stem: p for p in path.parent.glob("*.py")} if path.suffix == ".py" else sweep_files()
    if path.suffix != ".py":
        path = files.get(name, Path("sweeps") / f"{name}.py")
    if not path.is_file():
        known = sorted(set(files) - {"__init__"})
        hint = did_you_mean(path.stem, known) if known else ""
        raise ValueError(f"no sweep {path.stem!r} in {path.parent.name or '.'}/{hint}")
    sweep = getattr(executed(path), "SWEEP", None)
    if not isinstance(sweep, Sweep):
        raise ValueError(f"sweep file {path.name} assigns no Sweep to SWEEP")
    if sweep.name != path.stem:
        raise ValueError(f"sweep file {path.name} calls its sweep {sweep.name!r}; the name is the file's stem")
    if not sweep.runs:
        raise ValueError(f"sweep file {path.name} holds no runs")
    return sweep


def executed(path: Path) -> ModuleType:
    """A sweep file, or one that defines what sweeps are made of, as a module. Raises ValueError in one sentence."""
    try:
        wrong = mistakes(path.read_text(), Sweep)
        if wrong:
            raise Misspelt(f"sweep file {path.name}, {'; '.join(wrong)}")
        return beside.executed(path)
    except Misspelt:
        raise
    except SystemExit as error:
        raise ValueError(
            f"sweep file {path.name}{line_of(error, path)}: it calls exit; it is to assign SWEEP"
        ) from None
    except Exception as error:
        raise ValueError(f"sweep file {path.name}{line_of(error, path)}: {what(error)}") from error


def _leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """What a description says, field by field, each under the names that lead to it."""
    for one in fields(value):
        inner, inside = getattr(value, one.name), (*path, one.name)
        if is_dataclass(inner):
            yield from _leaves(inner, inside)
        else:
            yield inside, "/".join(map(str, inner)) if isinstance(inner, tuple) else str(inner)
