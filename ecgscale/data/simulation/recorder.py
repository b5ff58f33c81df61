"""Recorders: what device and surroundings make of a heart's signal, from pools with a long tail."""

from collections.abc import Sequence

import numpy as np

from ecgscale.data.simulation import pools
from ecgscale.data.simulation.dipole import DOWER, N_SAMPLES, SAMPLING_HZ, drawn
from ecgscale.data.simulation.people import HOSPITALS, Hospital, Record, person, record

_SECONDS = np.arange(N_SAMPLES, dtype=np.float32) / SAMPLING_HZ
_BURST = 0.25  # seconds, its width


def recorded(
    numbers: Sequence[int], patients: Sequence[int], seed: int, hospital: str, exponent: float
) -> tuple[np.ndarray, list[Record]]:
    """Signals float32 [n, 8, N_SAMPLES] in mV of records ``numbers`` of a hospital's ``patients``, and their truth."""
    of, place = HOSPITALS[hospital], sorted(HOSPITALS).index(hospital)
    moments = [np.random.default_rng((seed, 20 + place, number)) for number in numbers]
    records = [
        record(person(seed, hospital, patient, exponent), moment)
        for patient, moment in zip(patients, moments, strict=True)
    ]
    signals = drawn([each.waves for each in records])
    for signal, each, moment in zip(signals, records, moments, strict=True):
        _disturb(signal, each, moment, seed, of, exponent)
    return signals, records


def _disturb(
    signal: np.ndarray, each: Record, moment: np.random.Generator, seed: int, of: Hospital, exponent: float
) -> None:
    """Add to a signal [8, N_SAMPLES], in place, what is not a beat, as the device shows it."""
    found = pools.artefact(seed, pools.rank(moment, exponent))
    device = pools.device(seed, (pools.rank(moment, exponent) + of.first_device) % pools.N_WAYS)
    strength = of.noise * float(np.exp(moment.normal(-0.2, 0.5)))
    if each.fibrillation.any():
        signal += (DOWER @ each.fibrillation).astype(np.float32)[:, None] * _waves(moment.uniform(5, 8), 0.25, moment)
    signal += strength * found.tremor.astype(np.float32)[:, None] * _waves(found.tremor_hz, found.drift_hz, moment)
    slow = np.sin(2 * np.pi * found.wander_hz * _SECONDS + moment.uniform(0, 2 * np.pi))
    signal += strength * found.wander.astype(np.float32)[:, None] * slow.astype(np.float32)
    muscle = np.float32(strength * found.muscle_mv)
    signal += muscle * moment.standard_normal(signal.shape, dtype=np.float32)
    for _ in range(found.n_bursts):
        bell = np.exp(-0.5 * ((_SECONDS - moment.uniform(0, N_SAMPLES / SAMPLING_HZ)) / _BURST) ** 2)
        shaken = bell * moment.standard_normal(N_SAMPLES, dtype=np.float32)
        signal += (strength * found.burst).astype(np.float32)[:, None] * shaken
    padded = np.pad(signal * device.gain.astype(np.float32)[:, None], ((0, 0), (3, 3)), mode="edge")
    response = device.response.astype(np.float32)
    signal[:] = sum(response[k] * padded[:, k : k + N_SAMPLES] for k in range(len(response)) if response[k])
    hum = np.sin(2 * np.pi * device.hum_hz * _SECONDS + moment.uniform(0, 2 * np.pi)).astype(np.float32)
    signal += np.float32(of.noise * device.hum_mv) * hum
    noise = np.float32(of.noise * device.noise_mv)
    signal += noise * moment.standard_normal(signal.shape, dtype=np.float32)


def _waves(hz: float, drift_hz: float, moment: np.random.Generator) -> np.ndarray:
    """A rhythm float32 [N_SAMPLES] whose rate and size drift, as fibrillation's and tremor's do."""
    phase = moment.uniform(0, 2 * np.pi)
    drift = np.sin(2 * np.pi * drift_hz * _SECONDS + phase)
    return (np.sin(2 * np.pi * hz * _SECONDS + 2 * drift) * (1 + 0.4 * drift)).astype(np.float32)
