"""Heartbeats are described by the patches around them, labelled as annotated, and split as their recordings."""

from pathlib import Path

import numpy as np
import pytest
import torch

from ecgscale import data
from ecgscale.data import corpus as corpora
from ecgscale.data.batches import Batch, Store
from ecgscale.data.corpus import MISSING, Corpus
from ecgscale.data.peaks import MAX_BEATS, NO_PEAK
from ecgscale.data.recording import ABSENT_LEAD
from ecgscale.models import ViT
from ecgscale.probing.heartbeats import CLASSES, around_beats, beats_of
from ecgscale.probing.probe import probe
from ecgscale.spec.run import Evaluation
from ecgscale.spec.tasks import Task

TASK = Task("planted-beats", "planted", "aami", "A", unit="beat")


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """Two leads; wide beats are V, narrow ones N, some Q and some of no class; 12 patients."""
    draw = np.random.default_rng(0)
    n, n_samples = 60, 1000
    signal = draw.normal(0, 20, (n, 2, n_samples))
    peaks = np.full((n, MAX_BEATS), NO_PEAK, dtype=np.int16)
    classes = np.full((n, MAX_BEATS), MISSING, dtype=np.uint8)
    at = np.arange(-20, 21)
    for row in range(n):
        places = np.arange(40, 980, 90) + draw.integers(-15, 15, 11)
        peaks[row, : len(places)] = places
        classes[row, : len(places)] = draw.choice([0, 2, 4, MISSING], len(places), p=[0.5, 0.3, 0.1, 0.1])
        for place, code in zip(places, classes[row], strict=False):
            signal[row][:, place + at] += 900 * np.exp(-((at / (12 if code == 2 else 3)) ** 2))
    home, patient = tmp_path_factory.mktemp("beats"), np.repeat(np.arange(12), 5).astype(np.int32)
    partial = home / "partial"
    partial.mkdir()
    arrays: dict[str, np.ndarray] = {
        "signal": np.rint(signal).astype(np.int16),
        "peaks": peaks,
        "labels": np.zeros((n, 0), dtype=np.uint8),
        "patient": patient,
        "split": np.select([patient < 7, patient < 9], [0, 1], 2).astype(np.uint8),
        "quality": np.zeros(n, dtype=np.uint8),
        "beat_classes": classes,
    }
    for name, values in arrays.items():
        np.save(partial / f"{name}.npy", values)
    (home / "corpora").mkdir()
    return corpora.seal(
        partial,
        home,
        "planted",
        label_sets={},
        sampling_hz=100,
        mv_per_unit=0.001,
        preparation="planted",
        leads=("MLII", "chest"),
        beat_classes=("N", "S", "V", "F", "Q"),
    )


def test_beats_of_a_corpus_are_its_annotations(planted: Corpus) -> None:
    beats = beats_of(planted, np.array([3, 8]))
    assert planted.beat_classes is not None
    codes = planted.beat_classes[beats.row, beats.place]
    assert set(beats.row) == {3, 8}
    assert set(codes) <= {0, 2}
    expected = np.isin(planted.beat_classes[[3, 8]], (0, 1, 2, 3)).sum()
    assert len(beats.row) == expected
    assert torch.equal(beats.labels.argmax(1), torch.from_numpy(codes.astype(np.int64)))
    assert torch.equal(beats.labels.sum(1), torch.ones(len(codes)))


def test_a_corpus_without_annotated_beats_is_refused(home: Path) -> None:
    with pytest.raises(ValueError, match="ptbxl-sample has no annotated beats"):
        beats_of(data.open_corpus("ptbxl-sample", home), np.arange(3))


def test_a_beat_is_the_mean_of_the_patches_around_it() -> None:
    torch.manual_seed(0)
    backbone = ViT(1, 16, 2, layer_scale=0.5).build().eval()
    peaks = torch.full((2, MAX_BEATS), NO_PEAK)
    peaks[0, :2], peaks[1, 0] = torch.tensor([110, 999]), 0
    leads = torch.tensor([[2, 13, ABSENT_LEAD], [1, 2, 3]])
    batch = Batch(torch.randn(2, 3, 1000), peaks, torch.zeros(2, 0), torch.zeros(2, dtype=torch.int64), leads)
    found, local = around_beats(backbone, batch, 100), backbone(batch).local.unflatten(1, (3, 40))
    # R at 1.1 s: patches of 0.25 s that touch [0.85, 1.5] are the fourth to the sixth; one lead is absent.
    torch.testing.assert_close(found[0, 0], local[0, :2, 3:6].mean((0, 1)))
    torch.testing.assert_close(found[0, 1], local[0, :2, 38:].mean((0, 1)))  # 9.74 s on
    torch.testing.assert_close(found[1, 0], local[1, :, :2].mean((0, 1)))
    assert not found[0, 2:].any()


def test_beats_are_probed_by_their_local_features(planted: Corpus) -> None:
    torch.manual_seed(0)
    backbone = ViT(1, 32, 2, layer_scale=0.5).build()
    settings = Evaluation(probe_epochs=60, standardise=True, probe_lr=1e-2)
    noisy = Task("planted-beats+em-6dB", "planted", "aami", "A", unit="beat", noise="em", snr_db=-6.0)
    scored = list(probe(backbone, [TASK, noisy], {"planted": planted}, settings, seed=0))
    by_key = {(s.task.name, s.split, s.metric): s for s in scored}
    own = by_key["planted-beats", "test", "auroc"]
    assert own.n_evaluated == len(beats_of(planted, planted.rows("test")).row)
    assert own.n_classes == 2  # N and V; nobody has S or F
    assert own.value > 0.95
    assert by_key["planted-beats+em-6dB", "test", "auroc"].value < own.value
    clean, hard = (by_key[name, "val", "loss"] for name in ("planted-beats", "planted-beats+em-6dB"))
    assert (clean.value, clean.n_evaluated) == (hard.value, hard.n_evaluated)


def test_store_of_two_leads_is_for_backbones_of_any(planted: Corpus) -> None:
    assert Store(planted, np.arange(2), any_leads=True).batch(np.arange(2)).leads.tolist() == [[2, 13]] * 2
    assert CLASSES == ("N", "S", "V", "F")
