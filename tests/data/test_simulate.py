"""Simulated ECGs: deterministic by seed and number, with conditions that change the signal as in life."""

from pathlib import Path

import numpy as np
import pytest

from ecgscale import data
from ecgscale.data import library, simulate
from ecgscale.data.peaks import NO_PEAK

SIGNALS, PEAKS, LABELS = simulate.records(0, 1500)
HAS = dict(zip((*simulate.LABELS, "male"), LABELS.T.astype(bool), strict=True))
NORMAL: np.ndarray = ~np.any(LABELS[:, :6], axis=1)


def intervals(row: np.ndarray) -> np.ndarray:
    return np.diff(row[row != NO_PEAK]) / 100


RATE = np.array([60 / np.mean(intervals(row)) for row in PEAKS])
IRREGULARITY = np.array([np.std(intervals(row)) / np.mean(intervals(row)) for row in PEAKS])


def average_beat(chosen: np.ndarray) -> np.ndarray:
    """Mean of the beats [8, 90] of recordings, from 0.4 s before to 0.5 s after the R peak, in mV."""
    beats = [
        SIGNALS[i][:, peak - 40 : peak + 50] for i in np.flatnonzero(chosen) for peak in PEAKS[i] if 40 <= peak < 950
    ]
    return np.mean(beats, axis=0) * 0.001


def test_a_record_depends_on_seed_and_number_alone() -> None:
    again, peaks, labels = simulate.records(700, 710)
    assert np.array_equal(again, SIGNALS[700:710])
    assert np.array_equal(peaks, PEAKS[700:710])
    assert np.array_equal(labels, LABELS[700:710])
    assert not np.array_equal(simulate.records(700, 710, seed=1)[0], again)


def test_rates_are_those_of_the_labels() -> None:
    assert RATE[HAS["SB"]].max() < 60
    assert RATE[HAS["ST"]].min() > 100
    assert RATE[NORMAL].min() > 58
    assert RATE[NORMAL].max() < 100


def test_atrial_fibrillation_is_irregular_and_without_p_waves() -> None:
    assert IRREGULARITY[HAS["AF"]].min() > 2 * np.median(IRREGULARITY[NORMAL])
    p_wave = slice(20, 32)  # 0.2 to 0.08 s before the R peak, in lead II
    assert np.ptp(average_beat(HAS["AF"])[1, p_wave]) < 0.35 * np.ptp(average_beat(NORMAL)[1, p_wave])


def test_a_block_delays_the_ventricles() -> None:
    early = slice(8, 20)  # 0.32 to 0.2 s before the R peak, in lead II
    assert average_beat(HAS["1dAVb"])[1, early].max() > 3 * abs(average_beat(NORMAL)[1, early]).max()


def test_bundle_branch_blocks_widen_the_qrs_and_look_as_they_do() -> None:
    v1, v6 = 2, 7
    normal, right, left = (average_beat(chosen) for chosen in (NORMAL, HAS["RBBB"], HAS["LBBB"]))

    def width(beat: np.ndarray) -> int:
        slope = np.abs(np.diff(beat[2:, 28:58], axis=1)).sum(axis=0)
        return int(np.ptp(np.flatnonzero(slope > 0.12 * slope.max())))

    assert width(right) > width(normal)
    assert width(left) > width(normal)
    late = slice(44, 52)
    assert right[v1, late].max() > 0.2  # the second R in V1
    assert normal[v1, late].max() < 0.15
    assert left[v1, 30:50].min() < -0.5  # one deep S in V1
    assert left[v6, 52:75].min() < 0 < left[v6, 30:50].max()  # T against the QRS


def test_patients_keep_their_morphology_and_have_one_split(tmp_path: Path) -> None:
    small = library.open_corpus("simulated-140", tmp_path)
    assert len(np.unique(small.patient)) == 100
    assert np.array_equal(small.signal, SIGNALS[:140])
    assert "simulated" in small.name
    assert "simulated" in small.manifest.preparation
    assert simulate.sizes(140) == tuple(len(small.rows(part)) for part in ("train", "val", "test"))
    conduction = LABELS[:, [0, 1, 2, 4, 6]]
    for first, second in zip(range(1499), range(1, 1500), strict=True):
        if simulate.patient_of(first) == simulate.patient_of(second):
            assert np.array_equal(conduction[first], conduction[second])


@pytest.mark.parametrize(
    ("name", "asked"),
    [("simulated-100", (100, 0)), ("simulated-100-7", (100, 7)), ("simulated", None), ("code-100", None)],
)
def test_names_say_size_and_seed(name: str, asked: tuple[int, int] | None) -> None:
    assert simulate.parsed(name) == asked


def test_a_card_says_how_many_there_are(tmp_path: Path) -> None:
    document = data.card("simulated-140", tmp_path)
    assert document["rai:dataCollection"].startswith("140 recordings of 100 patients")
    with pytest.raises(ValueError, match=r"did you mean simulated\?"):
        data.card("simulated-many", tmp_path)


def test_too_small_to_split_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least 10"):
        simulate.simulated(tmp_path, 3)
