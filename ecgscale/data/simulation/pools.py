"""Pools with a long tail: ways in which hearts, rhythms, devices and disturbances differ, few common and many rare.

Ranks are Zipf-distributed: the k-th way has a probability in proportion to k ** -exponent, so that more recordings keep
showing what fewer did not have, the known explanation of power laws in data (Hutter 2021; Michaud et al. 2023). What a
way looks like follows from the seed of the simulation, its pool and its rank alone.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

N_WAYS = 50_000  # of a pool
N_WAVES = 9  # P, second P, septum, main, second main, base, terminal, notch, T


@lru_cache(maxsize=8)
def _cumulative(exponent: float) -> np.ndarray:
    weight = np.arange(1, N_WAYS + 1, dtype=np.float64) ** -exponent
    return np.cumsum(weight) / weight.sum()


def rank(draw: np.random.Generator, exponent: float) -> int:
    """A way of a pool, drawn by its frequency; 0 is the most common."""
    return int(np.searchsorted(_cumulative(exponent), draw.random(), side="right"))


def _way(seed: int, pool: int, rank: int) -> np.random.Generator:
    return np.random.default_rng((seed, 1000 + pool, rank))


class Morphology(NamedTuple):
    """How a heart differs from the textbook's; vectors as shares of the main one, times in seconds."""

    size: np.ndarray  # [N_WAVES]
    tilt: np.ndarray  # [N_WAVES, 3]
    spread: np.ndarray  # [N_WAVES], factors on widths
    notch: np.ndarray  # [3] mV: a late wave of the QRS complex, which many healthy hearts have
    notch_at: float
    second_p: np.ndarray  # [3] mV
    second_p_at: float  # before the P wave


@lru_cache(maxsize=20_000)
def morphology(seed: int, rank: int) -> Morphology:
    draw = _way(seed, 0, rank)
    bold = min(1.0, 0.35 + 0.12 * np.log1p(rank))  # the common ones are near the textbook
    return Morphology(
        size=np.exp(draw.normal(0, 0.35 * bold, N_WAVES)),
        tilt=draw.normal(0, 0.28 * bold, (N_WAVES, 3)),
        spread=np.exp(draw.normal(0, 0.2 * bold, N_WAVES)),
        notch=draw.normal(0, 0.30 * bold, 3),
        notch_at=float(draw.uniform(0.045, 0.085)),
        second_p=draw.normal(0, 0.05 * bold, 3),
        second_p_at=float(draw.uniform(0.03, 0.10)),
    )


class Conduction(NamedTuple):
    """A variant of a bundle branch block: how its late vector is turned, stretched, delayed."""

    turn: np.ndarray  # [3, 3] a rotation
    size: float
    spread: float
    delay: float  # seconds
    t_turn: np.ndarray  # [3, 3]


@lru_cache(maxsize=20_000)
def conduction(seed: int, rank: int) -> Conduction:
    draw = _way(seed, 1, rank)
    bold = min(1.0, 0.25 + 0.12 * np.log1p(rank))
    return Conduction(
        turn=_rotation(draw, 0.9 * bold),
        size=float(np.exp(draw.normal(0, 0.35 * bold))),
        spread=float(np.exp(draw.normal(0, 0.2 * bold))),
        delay=float(draw.normal(0, 0.012 * bold)),
        t_turn=_rotation(draw, 0.9 * bold),
    )


def _rotation(draw: np.random.Generator, angle: float) -> np.ndarray:
    """A rotation about a random axis by a normal angle of this deviation (Rodrigues' formula)."""
    axis = draw.normal(size=3)
    x, y, z = axis / np.linalg.norm(axis)
    turn = draw.normal(0, angle)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(turn) * cross + (1 - np.cos(turn)) * cross @ cross


class Device(NamedTuple):
    """What a recorder does to a signal: a gain a lead, a short impulse response, noise of its own."""

    gain: np.ndarray  # [8]
    response: np.ndarray  # [7] FIR
    noise_mv: float
    hum_hz: float
    hum_mv: float


@lru_cache(maxsize=20_000)
def device(seed: int, rank: int) -> Device:
    draw = _way(seed, 2, rank)
    smooth, sharp = draw.uniform(0, 0.25), draw.uniform(-0.08, 0.08)
    response = np.array([sharp, 0, smooth, 1.0, smooth, 0, sharp])
    return Device(
        gain=np.exp(draw.normal(0, 0.08, 8)),
        response=response / response.sum(),
        noise_mv=float(np.exp(draw.normal(np.log(0.006), 0.5))),
        hum_hz=float(draw.choice([10.0, 25.0, 40.0, 48.0])),
        hum_mv=float(draw.uniform(0, 0.012)),
    )


class Artefact(NamedTuple):
    """A disturbance: a tremor of one rhythm, wander, and bursts, each with its strength in the leads."""

    tremor_hz: float
    tremor: np.ndarray  # [8] mV; near the rates of fibrillation waves
    drift_hz: float
    wander_hz: float
    wander: np.ndarray  # [8] mV
    muscle_mv: float
    n_bursts: int
    burst: np.ndarray  # [8] mV


@lru_cache(maxsize=20_000)
def artefact(seed: int, rank: int) -> Artefact:
    draw = _way(seed, 3, rank)
    bold = min(1.0, 0.2 + 0.12 * np.log1p(rank))
    return Artefact(
        tremor_hz=float(draw.uniform(4, 9)),
        tremor=draw.normal(0, 0.05 * bold, 8),
        drift_hz=float(draw.uniform(0.05, 0.6)),
        wander_hz=float(draw.uniform(0.12, 0.45)),
        wander=draw.normal(0, 0.08 * bold, 8),
        muscle_mv=float(np.exp(draw.normal(np.log(0.012), 0.5))),
        n_bursts=int(draw.poisson(0.8 * bold)),
        burst=draw.normal(0, 0.12 * bold, 8),
    )
