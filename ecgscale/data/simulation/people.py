"""People whose hearts are simulated: a latent state, what it makes of a heartbeat, and the labels that follow."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ecgscale.data.simulation import pools
from ecgscale.data.simulation.dipole import SECONDS, Waves

RHYTHM_LABELS = ("1dAVb", "RBBB", "LBBB", "SB", "AF", "ST")
# What pretraining does not see: the other label sets, in the order in which they are stored behind RHYTHM_LABELS.
FURTHER_LABELS: dict[str, tuple[str, ...]] = {
    "sex": ("male",),
    "age": ("over 65",),
    "hypertrophy": ("left ventricular hypertrophy",),
    "infarction": ("old infarction",),
    "potassium": ("hyperkalaemia", "hypokalaemia"),
    "risk": ("dies within a year",),
}
_P, _P2, _SEPTUM, _MAIN, _MAIN2, _BASE, _TERMINAL, _NOTCH, _T = range(pools.N_WAVES)
_TERRITORIES = np.array([[0.0, 1.0, 0.1], [0.1, 0.1, -1.0], [1.0, 0.1, 0.2]])  # inferior, anterior, lateral


@dataclass(frozen=True)
class Hospital:
    """Whom it sees and how it records: ages, share of men, factors on diseases and noise, which devices are common."""

    age: float = 58.0  # mean, years
    age_deviation: float = 17.0
    male: float = 0.45
    disease: float = 1.0
    potassium: float = 0.55  # deviation, mmol/l
    noise: float = 1.0
    first_device: int = 0  # the rank in the pool that is its most common


HOSPITALS: dict[str, Hospital] = {
    "a": Hospital(),  # primary care: what is pretrained on
    "b": Hospital(66.0, 12.0, 0.58, disease=1.8, noise=0.8, first_device=7),  # cardiology
    "c": Hospital(61.0, 18.0, 0.5, disease=1.3, potassium=0.9, noise=1.8, first_device=23),  # emergency room
    "d": Hospital(44.0, 14.0, 0.5, disease=0.5, noise=1.3, first_device=61),  # screening
}


class Person(NamedTuple):
    """The latent state of a patient; conduction, rhythm and disease last from record to record."""

    age: float
    male: bool
    slow_av: bool
    rbbb: bool
    lbbb: bool
    fibrillates: bool
    irregular: bool  # a sinus rhythm that breathes strongly
    hypertrophy: bool
    infarcted: int  # territory, -1 for none
    potassium: float  # mmol/l
    frailty: float  # deviations
    dies: bool
    axis: float  # of the main vector in the frontal plane, radians below the left arm
    turn: float  # towards the back
    size: float
    pr: float  # seconds
    strain: bool
    morphology: pools.Morphology
    conduction: pools.Conduction


class Record(NamedTuple):
    """One recording before it is drawn, and its truth."""

    waves: Waves
    r_peaks: np.ndarray  # [n_beats] seconds
    fibrillation: np.ndarray  # [3] mV of its waves, zero without
    person: Person
    labels: tuple[bool, ...]  # RHYTHM_LABELS, then those of FURTHER_LABELS


def person(seed: int, hospital: str, number: int, exponent: float) -> Person:
    """Patient ``number`` of a hospital: a function of these four alone."""
    of = HOSPITALS[hospital]
    draw = np.random.default_rng((seed, 10 + sorted(HOSPITALS).index(hospital), number))
    age = float(np.clip(draw.normal(of.age, of.age_deviation), 18, 95))
    male = bool(draw.random() < of.male)
    older = of.disease * np.exp((age - 58) / 40)
    chance = draw.random(7)
    fibrillates = bool(chance[0] < 0.07 * older)
    slow_av = bool(chance[1] < 0.08 * older) and not fibrillates
    rbbb = bool(chance[2] < 0.08 * older)
    lbbb = bool(chance[3] < 0.06 * older) and not rbbb
    hypertrophy = bool(chance[4] < 0.14 * older)
    infarcted = int(draw.integers(3)) if chance[5] < (0.12 if male else 0.07) * older else -1
    potassium = float(np.clip(draw.normal(4.25, of.potassium), 2.2, 8.0))
    frailty = float(draw.normal())
    risk = -3.4 + 0.045 * (age - 60) + 0.8 * (infarcted >= 0) + 0.5 * lbbb + 0.5 * fibrillates + 0.4 * hypertrophy
    risk += 0.6 * abs(potassium - 4.25) + 1.1 * frailty
    return Person(
        age=age,
        male=male,
        slow_av=slow_av,
        rbbb=rbbb,
        lbbb=lbbb,
        fibrillates=fibrillates,
        irregular=bool(chance[6] < 0.08),
        hypertrophy=hypertrophy,
        infarcted=infarcted,
        potassium=potassium,
        frailty=frailty,
        dies=bool(draw.random() < 1 / (1 + np.exp(-risk))),
        axis=float(draw.normal(0.85 - 0.008 * (age - 58) - (0.35 if hypertrophy else 0), 0.40)),
        turn=float(draw.normal(0.45, 0.25)),
        size=float(np.exp(draw.normal((0.05 if male else -0.1) - 0.003 * (age - 58), 0.22))),
        pr=float(draw.uniform(0.215, 0.34) if slow_av else np.clip(draw.normal(0.15 + age / 5e3, 0.02), 0.11, 0.195)),
        strain=bool(draw.random() < 0.6),
        morphology=pools.morphology(seed, pools.rank(draw, exponent)),
        conduction=pools.conduction(seed, pools.rank(draw, exponent)),
    )


def record(who: Person, moment: np.random.Generator) -> Record:
    """A recording of a person: rate and its variation are the moment's."""
    which = moment.random()
    slow, fast = which < 0.10 and not who.fibrillates, which > 0.90 and not who.fibrillates
    rate = moment.uniform(38, 57) if slow else moment.uniform(103, 150) if fast else moment.uniform(61, 97)
    intervals = _intervals(who, rate, moment)
    r = np.cumsum(intervals) - moment.uniform(0.8, 2.0)
    r = r[r < SECONDS + 1.0]
    middles, widths, vectors = _beat(who)
    qt = 0.40 * np.sqrt(np.clip(intervals[: len(r)], 0.35, 1.6)) + (0.05 if who.lbbb or who.rbbb else 0)
    qt += (0.0 if who.male else 0.012) + 0.008 * who.frailty
    at = r[:, None] + middles
    at[:, _T] = r + qt - 0.10
    beat_size = 1 + moment.normal(0, 0.02, (len(r), 1, 1))
    fibrillation = np.array([0.02, 0.05, -0.06]) * np.exp(moment.normal(0, 0.5)) if who.fibrillates else np.zeros(3)
    truth = (who.slow_av, who.rbbb, who.lbbb, slow, who.fibrillates, fast)
    disease = (who.hypertrophy, who.infarcted >= 0, who.potassium > 5.2, who.potassium < 3.5, who.dies)
    return Record(
        Waves(at, np.broadcast_to(widths, at.shape), vectors * beat_size),
        r + (0.0275 if who.lbbb else 0.0),
        fibrillation,
        who,
        (*truth, who.male, who.age > 65, *disease),
    )


def _intervals(who: Person, rate: float, moment: np.random.Generator) -> np.ndarray:
    """Seconds from beat to beat."""
    mean = 60 / rate
    n_beats = int((SECONDS + 3) / mean * (1.6 if who.fibrillates else 1.3)) + 2
    if who.fibrillates:
        return np.maximum(0.33, mean * np.exp(moment.normal(0, 0.22, n_beats)))
    calm = float(np.exp(-0.02 * (who.age - 58) - 0.3 * who.frailty))  # the old and the frail vary less
    depth = 0.16 if who.irregular else 0.03 * calm
    breath = depth * np.sin(2 * np.pi * 0.25 * mean * np.arange(n_beats) + moment.uniform(0, 2 * np.pi))
    return mean * (1 + breath + moment.normal(0, 0.05 if who.irregular else 0.012, n_beats))


def _beat(who: Person) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Middles [N_WAVES] s from the R peak (T's is set later), widths [N_WAVES] s and vectors [N_WAVES, 3] mV."""
    form, block = who.morphology, who.conduction
    main = np.array([np.cos(who.axis) * np.cos(who.turn), np.sin(who.axis) * np.cos(who.turn), np.sin(who.turn)])
    p = -who.pr + 0.02
    middles = np.array([p, p - form.second_p_at, -0.030, 0, 0.055, 0.034, 0.075, form.notch_at, 0])
    widths = np.array([0.022, 0.018, 0.009, 0.0125, 0.022, 0.011, 0.024, 0.014, 0.048])
    vectors = np.zeros((pools.N_WAVES, 3))
    vectors[_P], vectors[_P2] = (0.06, 0.10, -0.02), form.second_p
    vectors[_SEPTUM], vectors[_BASE] = (-0.16, 0.03, -0.20), (-0.12, -0.16, 0.30)
    vectors[_MAIN], vectors[_NOTCH], vectors[_T] = 1.05 * main, form.notch, (0.16, 0.12, -0.16)
    if who.fibrillates:
        vectors[[_P, _P2]] = 0
    if who.rbbb:  # the right ventricle last and slowly: to the right and the front, as its variant turns it
        vectors[_TERMINAL] = block.size * block.turn @ (-0.42, 0.0, -0.45)
        vectors[_T] = block.t_turn @ (0.22, 0.12, 0.04)
        middles[_TERMINAL] += block.delay
        widths[_TERMINAL] *= block.spread
    if who.lbbb:  # no septal vector; the left ventricle slowly, in two humps; T against it
        vectors[_SEPTUM] = 0
        vectors[_MAIN] = 0.62 * main + (0.05, 0, 0.10)
        vectors[_MAIN2] = block.size * block.turn @ (0.55 * main + (0.12, -0.1, 0.12))
        vectors[_T] = block.t_turn @ (-0.33 * main)
        middles[_MAIN2] += block.delay
        widths[_MAIN], widths[_MAIN2] = 0.024, widths[_MAIN2] * block.spread
    if who.hypertrophy:
        vectors[[_MAIN, _MAIN2]] *= 1.5
        vectors[_T] = -0.5 * vectors[_T] if who.strain else vectors[_T]
    if who.infarcted >= 0:  # the dead wall is missing from the beginning of the QRS, and T turns away from it
        wall = _TERRITORIES[who.infarcted]
        vectors[_SEPTUM] -= 0.38 * wall
        vectors[_T] -= 0.22 * wall
        widths[_SEPTUM] = 0.013
    excess = who.potassium - 4.25
    vectors[_T] *= np.exp(0.35 * excess)  # high potassium: T tall and narrow, P small, QRS wide
    widths[_T] *= np.exp(-0.12 * excess)
    vectors[[_P, _P2]] *= np.exp(-0.25 * max(0.0, excess))
    widths[_MAIN:_T] *= np.exp(0.06 * max(0.0, excess)) * (1 + 0.03 * who.frailty)
    vectors *= (who.size * form.size)[:, None]
    vectors += form.tilt * np.linalg.norm(vectors, axis=1, keepdims=True)
    return middles, widths * form.spread, vectors
