"""What runs get of a pool's GPUs fits them: the whole grid on cards of 24, 40 and 80 GB, from any head."""

from dataclasses import replace
from itertools import product
from pathlib import Path

import pandas as pd
import pytest

from ecgscale import data
from ecgscale.compute import cost
from ecgscale.data.allowance import Allowance
from ecgscale.models import RESNETS
from ecgscale.pool.kinds import Kind, kinds_of, not_shared, offers, without_room
from ecgscale.pool.shares import Needs, limit_of
from ecgscale.pricing.calibration import Device
from ecgscale.pricing.plan import plan, resident_bytes, shares, stores_of
from ecgscale.spec.run import Run
from ecgscale.spec.sweep import Sweep, load
from ecgscale.spec.tasks import measurable
from ecgscale.training.footprint import needed_bytes, working_bytes
from tests.faults import Cellular

GB = 1e9
SPEEDS = dict.fromkeys(("resnet", "transformer"), ((100000.0, 2000000000000.0), (10000000000.0, 100000000000000.0)))


@pytest.fixture(scope="module")
def grid() -> Sweep:
    return load("code_grid")


@pytest.fixture(scope="module")
def sizes(grid: Sweep, tmp_path_factory: pytest.TempPathFactory) -> dict[str, data.CorpusSize]:
    home = tmp_path_factory.mktemp("sizes")
    names = {name for run in grid.runs for name in run.slice.corpora}
    names |= {task.corpus for run in grid.runs[:1] for task in measurable(grid.tasks, run)}
    return {name: data.corpus_size(name, home) for name in names}


@pytest.fixture(scope="module", params=[8, 64, 512])
def priced(request: pytest.FixtureRequest, grid: Sweep, tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """The plan of a head without a GPU, of so many gigabytes."""
    head = Device("a head", False, request.param * GB, SPEEDS)
    return plan(grid, tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("results"), head)


def oversteps(run: Run, sweep: Sweep, sizes: dict[str, data.CorpusSize], kind: Kind, share: float) -> bool:
    """Whether a process of a run takes more than its part of a card, in training, evaluation or any probe."""
    limit, n = limit_of(share, kind.gpu_bytes), max(1, int(share))
    assert limit == pytest.approx(kind.fraction(share) * kind.gpu_bytes)
    size = sizes[run.slice.corpus]
    spent = cost(run.architecture, run.objective, size.n_labels.get(run.slice.label_set, 0), size.n_samples)
    at_once = -(-run.schedule.batch_size // n)
    allowance = Allowance(max(0.0, limit - needed_bytes(spent, at_once, limit, n)))
    stores = stores_of(run, measurable(sweep.tasks, run), sizes)
    model = working_bytes(spent, at_once, n, recompute=working_bytes(spent, at_once, n) > 0.75 * limit)
    return model + resident_bytes(stores.held, stores.probed, allowance) > limit


@pytest.mark.slow
@pytest.mark.parametrize("gigabytes", [24, 40, 80])
def test_no_run_of_the_grid_oversteps_its_part_of_a_card(
    gigabytes: int, grid: Sweep, sizes: dict[str, data.CorpusSize], priced: pd.DataFrame, tmp_path: Path
) -> None:
    kind = Kind("", gigabytes * GB, 4, 4)
    needs = Needs(shares(grid, priced, tmp_path, tmp_path))
    offered = offers([kind], grid.runs, needs)
    given = {run_id: offer.share for offer in offered for run_id in offer.run_ids}
    assert len(given) == len(grid.runs) == 120
    beside = [run for run in grid.runs if oversteps(run, grid, sizes, kind, given[run.run_id])]
    alone = [run for run in grid.runs if oversteps(run, grid, sizes, kind, 1.0)]
    assert not beside
    assert not alone
    assert gigabytes == 24 or len({share for share in given.values() if share < 1}) > 1  # some share a card
    small = Kind("", 4 * GB, 4, 4)  # and what is no card for the largest does not pass for one
    assert any(oversteps(run, grid, sizes, small, 1.0) for run in grid.runs)


@pytest.mark.slow
def test_the_share_is_that_of_the_plan_for_the_card_whatever_the_head(
    grid: Sweep, priced: pd.DataFrame, tmp_path: Path
) -> None:
    few = replace(grid, runs=grid.runs[::7])
    card = Device("a card", True, 40 * GB, SPEEDS, measured=False)
    said = plan(few, tmp_path, tmp_path, card).set_index("run_id")["gpu_share"]
    share = shares(few, priced, tmp_path, tmp_path)
    assert {run.run_id: share(run, 40 * GB) for run in few.runs} == dict(said)


@pytest.mark.slow
def test_a_run_too_large_for_a_card_is_offered_several_of_one_machine(
    grid: Sweep, priced: pd.DataFrame, tmp_path: Path
) -> None:
    largest = next(run for run in grid.runs if run.architecture == RESNETS[-1])  # most weights, few activations
    needs = Needs(shares(grid, priced, tmp_path, tmp_path))
    assert needs.share(largest, 80 * GB) == 1.0
    several = needs.share(largest, 3 * GB)
    assert several > 1
    roomy, narrow = Kind("", 3 * GB, 16, int(several)), Kind("", 3 * GB, 16, int(several) - 1)
    (offer,) = offers([roomy], [largest], needs)
    assert (offer.share, offer.n_slots) == (several, 1)
    assert not offers([narrow], [largest], needs)
    assert "GPUs of one machine, the largest has" in without_room([narrow], [largest], needs)
    assert not without_room([narrow, roomy], [largest], needs)


def test_kinds_of_gpu_are_told_apart_by_their_nodes_labels() -> None:
    nodes = [("accelerator_type:A100", 80e9, 4), ("accelerator_type:L4", 24e9, 1), ("accelerator_type:A100", 40e9, 8)]
    small, large = sorted(kinds_of(nodes), key=lambda kind: kind.gpu_bytes)
    assert (small.label, small.n_units, small.most) == ("accelerator_type:L4", 1, 1)
    assert (large.label, large.gpu_bytes, large.n_units, large.most) == ("accelerator_type:A100", 40e9, 12, 8)
    (same,) = kinds_of([nodes[0], nodes[2]])
    assert same.label == ""  # one kind needs no telling apart
    (unknown,) = kinds_of([*nodes, ("", 30e9, 1)])
    assert (unknown.label, unknown.gpu_bytes, unknown.n_units) == ("", 24e9, 14)


def test_every_kind_packs_by_its_own_memory() -> None:
    runs = [Cellular(number) for number in range(40)]
    needs = Needs(share=lambda run, gpu_bytes: min(1.0, 10e9 / gpu_bytes))  # type: ignore[arg-type]
    kinds = kinds_of([("accelerator_type:H100", 80e9, 2), ("accelerator_type:L4", 20e9, 3)])
    found = offers(kinds, runs, needs, {runs[0].run_id})  # type: ignore[arg-type]
    said = {(offer.kind.label[-4:], offer.share): (offer.n_slots, len(offer.run_ids)) for offer in found}
    assert said == {("H100", 1 / 8): (16, 39), ("H100", 1.0): (1, 1), ("e:L4", 1 / 2): (6, 39), ("e:L4", 1.0): (1, 1)}
    assert len({offer.name for offer in found}) == len(found)
    assert "do not share their data" in not_shared(found)
    assert not not_shared([offer for offer in found if offer.share == 1])


def test_a_context_has_its_room_beside_what_torch_may_take() -> None:
    for share, gigabytes in product((1.0, 1 / 2, 1 / 8, 3.0), (24, 80)):
        part = min(share, 1.0) * gigabytes * GB
        assert 0.8 * part - 1 <= limit_of(share, gigabytes * GB) <= part - 0.59e9
