"""Simulated hospitals: a long tail of ways, deterministic by seed and number, with labels that change the signal."""

from pathlib import Path

import numpy as np
import pytest

from ecgscale import data
from ecgscale.data.peaks import NO_PEAK
from ecgscale.data.simulation import hospitals, people, pools
from ecgscale.data.simulation.hospitals import Asked, parsed
from ecgscale.spec.tasks import TASKS

SIGNALS, PEAKS, LABELS = hospitals.records(0, 800, Asked(800))
NAMES = [name for names in hospitals.LABEL_SETS.values() for name in names]
HAS = dict(zip(NAMES, LABELS.T.astype(bool), strict=True))
LEAD_II, V1, V5 = 1, 2, 6


def beats(chosen: np.ndarray, lead: int) -> np.ndarray:
    """Mean beat [90] in mV of recordings, from 0.4 s before to 0.5 s after the R peak."""
    cut = [SIGNALS[i, lead, p - 40 : p + 50] for i in np.flatnonzero(chosen) for p in PEAKS[i] if 40 <= p < 950]
    return np.mean(cut, axis=0) / 1000


def test_a_record_depends_on_its_number_seed_hospital_and_tail_alone() -> None:
    for again, stored in zip(hospitals.records(700, 705, Asked(10)), (SIGNALS, PEAKS, LABELS), strict=True):
        assert np.array_equal(again, stored[700:705])
    for other in (Asked(10, seed=1), Asked(10, "b"), Asked(10, exponent=1.1)):
        assert not np.array_equal(hospitals.records(700, 705, other)[0], SIGNALS[700:705])


def test_ways_are_met_as_often_as_their_rank_says() -> None:
    draw = np.random.default_rng(0)
    for exponent in (1.1, 1.3):
        ranks = np.array([pools.rank(draw, exponent) for _ in range(20_000)])
        share = np.bincount(ranks, minlength=100)[:100] / len(ranks)
        k = np.arange(1, 101)
        fitted = -np.polyfit(np.log(k[:20]), np.log(share[:20]), 1)[0]
        assert fitted == pytest.approx(exponent, abs=0.1)
        tail = (np.arange(1, pools.N_WAYS + 1.0) ** -exponent)[100:].sum() / (
            np.arange(1, pools.N_WAYS + 1.0) ** -exponent
        ).sum()
        assert np.mean(ranks >= 100) == pytest.approx(tail, abs=0.02)


def test_rhythms_are_those_of_the_labels() -> None:
    intervals = [np.diff(row[row != NO_PEAK]) / 100 for row in PEAKS]
    rate = np.array([60 / each.mean() for each in intervals])
    irregular = np.array([each.std() / each.mean() for each in intervals])
    steady = ~HAS["AF"]
    assert rate[HAS["SB"] & steady].max() < 62
    assert rate[HAS["ST"] & steady].min() > 96
    assert np.median(irregular[HAS["AF"]]) > 3 * np.median(irregular[steady])
    assert irregular[steady].max() > 0.08  # some sinus rhythms breathe strongly: a rule of regularity is not enough


@pytest.mark.parametrize(
    ("label", "lead", "part", "mv"),
    [
        ("RBBB", V1, slice(44, 54), 0.1),  # the late right vector
        ("LBBB", V5, slice(52, 75), 0.1),  # T against the QRS
        ("left ventricular hypertrophy", V5, slice(38, 43), 0.3),  # R
        ("old infarction", LEAD_II, slice(34, 40), 0.05),  # Q
        ("hyperkalaemia", LEAD_II, slice(55, 75), 0.025),  # T
    ],
)
def test_labels_change_the_signal_where_they_do_in_life(label: str, lead: int, part: slice, mv: float) -> None:
    others = ~HAS["RBBB"] & ~HAS["LBBB"] & ~HAS["AF"]
    with_it = beats(HAS[label] & (others | HAS[label]), lead)[part]
    without = beats(others & ~HAS[label], lead)[part]
    assert np.abs(with_it - without).max() > mv


def test_risk_follows_from_age_and_disease() -> None:
    people_of_b = [people.person(0, "b", number, 1.3) for number in range(6000)]
    dies = np.array([who.dies for who in people_of_b])
    causes = {"age": [who.age > 65 for who in people_of_b], "infarction": [who.infarcted >= 0 for who in people_of_b]}
    for cause, has in causes.items():
        assert dies[np.array(has)].mean() > 1.3 * dies[~np.array(has)].mean(), cause
    assert 0.03 < dies.mean() < 0.3


def test_hospitals_differ_in_people_and_noise() -> None:
    found = {hospital: hospitals.records(0, 150, Asked(150, hospital)) for hospital in "bcd"}
    old = {hospital: made[2][:, NAMES.index("over 65")].mean() for hospital, made in found.items()}
    assert old["b"] > HAS["over 65"].mean() > old["d"]
    noise = {hospital: np.median(np.abs(np.diff(made[0].astype(float), 2, axis=2))) for hospital, made in found.items()}
    assert noise["c"] > 1.2 * noise["b"]


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("simulated-hospital-100", Asked(100)),
        ("simulated-hospital-c-100-zipf1.1-seed3", Asked(100, "c", 1.1, 3)),
        ("simulated-hospital", None),
        ("simulated-hospital-e-100", None),
        ("simulated-100", None),
    ],
)
def test_names_say_all_that_records_depend_on(name: str, asked: Asked | None) -> None:
    assert parsed(name) == asked


def test_a_corpus_opens_by_its_name_and_has_a_size_a_card_and_a_line(tmp_path: Path) -> None:
    name = "simulated-hospital-d-140"
    made = data.open_corpus(name, tmp_path)
    assert made.label_names("potassium") == ("hyperkalaemia", "hypokalaemia")
    assert data.corpus_size(name, tmp_path).n_records == tuple(len(made.rows(p)) for p in ("train", "val", "test"))
    assert "tail of exponent 1.3; hospital d, seed 0" in made.manifest.preparation
    assert data.card(name, tmp_path)["rai:dataCollection"].startswith("140 recordings of 100 patients")
    prepared = data.listing(tmp_path).set_index("name")["prepared"]
    assert (prepared["simulated-hospital"], prepared["simulated"]) == (name, "")
    data.open_corpus("simulated-40", tmp_path)
    prepared = data.listing(tmp_path).set_index("name")["prepared"]
    assert (prepared["simulated-hospital"], prepared["simulated"]) == (name, "simulated-40")
    with pytest.raises(ValueError, match="at least 10"):
        data.open_corpus("simulated-hospital-3", tmp_path)


def test_tasks_ask_elsewhere_what_pretraining_does_not_see() -> None:
    asked = [task for task in TASKS.values() if task.corpus.startswith(hospitals.NAME)]
    assert {task.domain for task in asked} == set("ABCD")
    assert all(parsed(task.corpus).hospital != "a" for task in asked)  # type: ignore[union-attr]
    assert {task.label_set for task in asked} == set(hospitals.LABEL_SETS) - {"code6"}
