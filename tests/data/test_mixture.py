"""A mix of corpora: exact shares at every place of the stream, all leads in one batch, nobody mistaken for another."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ecgscale import data
from ecgscale.data.batches import order, shuffled
from ecgscale.data.corpus import Corpus, Slice
from ecgscale.data.mixture import Mixture, interleaved, n_evaluated, stored
from ecgscale.data.recording import ABSENT_LEAD
from ecgscale.data.split import SPLITS
from ecgscale.models import Codebook, ResNet, Transformer, ViT
from ecgscale.objectives import DINO, Masked, Supervised
from ecgscale.pricing.obstacles import checked
from ecgscale.pricing.plan import plan
from ecgscale.probing.measure import Measurement
from ecgscale.spec.run import Evaluation, Run, Schedule
from ecgscale.spec.sweep import Sweep
from ecgscale.training import train
from tests.descriptions import described

MIX = Slice("ptbxl-sample", mix=(("one-lead", 0.5), ("ludb-sample", 0.25)))
SMALL = DINO(n_prototypes=16, head_width=16, bottleneck=8, n_local=1)


@pytest.fixture(scope="module")
def corpora(home: Path) -> list[Corpus]:
    """The samples, and lead I of the larger one as if it came from a patch."""
    full, ludb = (data.open_corpus(name, home) for name in ("ptbxl-sample", "ludb-sample"))
    manifest = replace(full.manifest, name="one-lead", leads=("ECG",))
    single = replace(full, manifest=manifest, signal=full.signal[:, :1])
    return [full, single, ludb]


@pytest.mark.parametrize("shares", [(1.0, 0.5, 0.25), (1.0, 2.0), (1.0, 0.1, 3.7, 0.003)])
def test_shares_are_exact_at_every_place(shares: tuple[float, ...]) -> None:
    which, nth = interleaved(np.arange(20_000), shares)
    for i, share in enumerate(shares):
        mine = which == i
        assert nth[mine].tolist() == list(range(mine.sum()))
        expected = share / sum(shares) * np.arange(1, 20_001)
        assert np.abs(mine.cumsum() - expected).max() < len(shares)
    late = interleaved(np.arange(15_000, 15_100), shares)
    assert np.array_equal(late[0], which[15_000:15_100])
    assert np.array_equal(late[1], nth[15_000:15_100])


def test_one_store_keeps_its_order(corpora: list[Corpus]) -> None:
    store = stored(Slice("ptbxl-sample"), corpora[:1], "train", "cpu", False)
    assert np.array_equal(store.positions(32, 3, 7), order(len(store), 32, 3, 7))
    assert np.array_equal(shuffled(10, np.arange(5, 15), 0)[5:], order(10, 10, 0, 1)[:5])
    assert sorted(store.evaluated()) == list(range(len(store)))


def test_batches_hold_recordings_of_all_corpora(corpora: list[Corpus]) -> None:
    mix = stored(MIX, corpora, "train", "cpu", True)
    assert isinstance(mix, Mixture)
    positions = np.concatenate([mix.positions(28, 0, step) for step in range(4)])
    which = np.searchsorted(mix.first, positions, side="right") - 1
    assert np.bincount(which).tolist() == [64, 32, 16]
    assert np.array_equal(mix.positions(28, 0, 3), positions[-28:])
    batch = mix.batch(positions)
    assert batch.signal.shape == (112, 12, 1000)
    assert batch.leads.shape == (112, 12)
    assert ((batch.leads != ABSENT_LEAD).sum(1).numpy() == np.where(which == 1, 1, 12)).all()
    assert not batch.signal[torch.from_numpy(which == 1), 1:].any()
    for i, store in enumerate(mix.stores):
        mine = which == i
        alone = store.batch(positions[mine] - mix.first[i])
        torch.testing.assert_close(batch.signal[torch.from_numpy(mine)][:, : alone.signal.shape[1]], alone.signal)
    by_corpus = [set(batch.patient[torch.from_numpy(which == i)].tolist()) for i in range(3)]
    assert not by_corpus[0] & by_corpus[1]
    assert not (by_corpus[0] | by_corpus[1]) & by_corpus[2]


def test_every_recording_is_seen_once_an_epoch_of_its_corpus(corpora: list[Corpus]) -> None:
    mix = stored(MIX, corpora, "train", "cpu", True)
    assert isinstance(mix, Mixture)
    stream = np.concatenate([mix.positions(700, 1, step) for step in range(5)])  # 2,000 of the first
    first = stream[stream < mix.first[1]]
    assert len(set(first[: len(mix.stores[0])].tolist())) == min(len(first), len(mix.stores[0]))


def test_the_loss_is_measured_in_the_same_shares(corpora: list[Corpus]) -> None:
    mix = stored(MIX, corpora, "val", "cpu", True)
    assert isinstance(mix, Mixture)
    positions = mix.evaluated()
    assert len(set(positions.tolist())) == len(positions)
    counts = np.bincount(np.searchsorted(mix.first, positions, side="right") - 1)
    assert counts == pytest.approx(counts.sum() * np.array([4, 2, 1]) / 7, abs=2)
    assert any(counts >= np.diff(mix.first) - 1)  # one corpus is used up
    assert n_evaluated(np.diff(mix.first).tolist(), mix.shares) == pytest.approx(len(positions), abs=7)


def test_what_cannot_be_mixed_is_refused(corpora: list[Corpus]) -> None:
    with pytest.raises(ValueError, match="twelve leads do not follow from ECG"):
        stored(MIX, corpora, "train", "cpu", False)
    shorter = replace(corpora[1], signal=corpora[1].signal[:, :, :500])
    with pytest.raises(ValueError, match="one-lead of 500 samples at 100 Hz"):
        stored(MIX, [corpora[0], shorter, corpora[2]], "train", "cpu", True)
    labelled = Slice("ptbxl-sample", 1.0, "sex", (("ludb-sample", 1.0),))
    with pytest.raises(ValueError, match="corpus ludb-sample has no label set 'sex'; it has rhythm, age"):
        stored(labelled, [corpora[0], corpora[2]], "train", "cpu", False)
    for mix in ((("ptbxl-sample", 1.0),), (("a", 1.0), ("a", 2.0)), (("a", 0.0),)):
        with pytest.raises(ValueError, match="each once with a share above 0"):
            Slice("ptbxl-sample", mix=mix)
    with pytest.raises(ValueError, match="needs labels"):
        Run(ResNet(3, 4), Supervised(), MIX)
    with pytest.raises(ValueError, match="reads one corpus"):
        Run(Transformer(1, 8, 1, 32), Masked(Codebook("ptbxl-sample")), MIX)


def test_a_mix_is_part_of_a_runs_identity() -> None:
    run = Run(ViT(1, 8, 1), DINO(), Slice("ptbxl-sample", mix=(("ludb-sample", 1),)))
    assert described(run.description) == run
    assert run.slice.name == "ptbxl-sample+ludb-sample"
    assert MIX.name == "ptbxl-sample+0.5*one-lead+0.25*ludb-sample"
    assert '"mix"' not in Run(ViT(1, 8, 1), DINO(), Slice("ptbxl-sample")).description


def test_a_run_trains_on_a_mix_and_goes_on_in_it(corpora: list[Corpus], home: Path) -> None:
    part = Slice("ptbxl-sample", 0.5, mix=(("ludb-sample", 0.5),))
    run = Run(ViT(1, 16, 2, patch=100), SMALL, part, Schedule(steps=4, batch_size=6), Evaluation(every=2))
    mixed = [corpora[2]]
    whole = list(train.pretrain(run, corpora[0], mixed=mixed))
    first = next(s for s in train.pretrain(run, corpora[0], mixed=mixed) if s.step == 2)
    again = list(train.pretrain(run, corpora[0], mixed=mixed, resume=first.state()))
    assert whole[-1].train_loss == again[-1].train_loss
    sweep = Sweep("mixed", (run,), ("ptbxl-sex",))
    measurement = Measurement(run, sweep, corpora[0], home, "cpu", mixed)
    untrained = next(train.pretrain(run, corpora[0], mixed=mixed))
    rows = {(r["target"], r["split"], r["metric"]): r for r in measurement.rows(untrained)}
    own = rows["ptbxl-sample+0.5*ludb-sample", "val", "loss"]
    trained = [len(corpus.rows("train", 0.5)) for corpus in (corpora[0], corpora[2])]
    assert own["n_samples"] == sum(trained)
    assert own["n_evaluated"] < sum(len(corpus.rows("val")) for corpus in (corpora[0], corpora[2]))


def test_a_plan_knows_all_corpora_of_a_mix(home: Path, tmp_path: Path) -> None:
    mixes = (Slice("ptbxl-sample"), Slice("ptbxl-sample", mix=(("ludb-sample", 0.5),)))
    runs = tuple(Run(ViT(1, 16, 2), SMALL, part, Schedule(10, 16)) for part in mixes)
    sweep = Sweep("mixed", runs, ("ptbxl-sex",))
    assert set(checked(sweep, home)) == {"ptbxl-sample", "ludb-sample"}
    alone, both = plan(sweep, home, tmp_path, "a100")["n_samples"]
    sizes = [len(data.open_corpus(name, home).rows(SPLITS[0])) for name in ("ptbxl-sample", "ludb-sample")]
    assert (alone, both) == (sizes[0], sum(sizes))
    wrong = Sweep("mixed", (Run(ViT(1, 16, 2), SMALL, Slice("ptbxl-sample", mix=(("ludo", 1.0),))),), ())
    with pytest.raises(ValueError, match="there is no corpus 'ludo'"):
        checked(wrong, home)
