"""A recording from what its file says and what was said once; what neither says is asked for, never guessed."""

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ecgscale.data.own.said import KNOWN_LEADS, Said, millivolts
from ecgscale.data.own.signals import Found
from ecgscale.data.recording import (
    INDEPENDENT_LEADS,
    LEADS,
    LIMB_LEADS,
    TWELVE_FROM_EIGHT,
    MalformedRecordError,
    Recording,
    canonical,
    ordered,
)


class Unsaid(ValueError):
    """Something that a file does not say and nobody has said, and the option that says it."""


def completed(found: Found, said: Said) -> Recording:
    """The recording in mV with our names of leads.

    Raises Unsaid for what is not known, MalformedRecordError where a file contradicts what was said.
    """
    leads = _leads(found, said)
    signal = _by_lead(found, leads)
    signal = signal * _scale(found, said)
    return with_derived(Recording(signal, _hz(found, said), leads, checksum=found.checksum, gain=found.gain))


def _leads(found: Found, said: Said) -> tuple[str, ...]:
    if found.leads is None:
        if not said.named_leads:
            raise Unsaid("the files do not name their leads: say them in their order, as in --leads I,II,III")
        return tuple(our for _, our in said.named_leads)
    ours = {theirs.casefold(): our for theirs, our in said.named_leads if theirs}
    names = [ours.get(name.strip().casefold(), _plain(name)) for name in found.leads]
    return tuple(names)


def _plain(name: str) -> str:
    """A lead's name without what exports put around it: "ECG II", "EKG-V1", "Lead aVR", "I (mV)"."""
    bare = re.sub(r"^(ECG|EKG|LEAD)[\s_-]+|[\s_]*[(\[][^)\]]*[)\]]$", "", name.strip(), flags=re.IGNORECASE)
    return canonical(bare)


def _by_lead(found: Found, leads: Sequence[str]) -> np.ndarray:
    """The signal [n_leads, n_samples], turned if need be. Raises MalformedRecordError if neither side fits."""
    a, b = found.signal.shape
    n = len(leads)
    if found.by_lead or (a == n and b != n):
        if a != n:
            raise MalformedRecordError(f"{a} signals but {n} leads are named")
        return found.signal
    if b == n and a != n:
        return np.ascontiguousarray(found.signal.T)
    which = "either side of it may be the leads" if a == b == n else f"--leads or the file names {n}"
    raise MalformedRecordError(f"array of {a} x {b} numbers: {which}")


def _hz(found: Found, said: Said) -> float:
    if found.hz is None:
        if not said.hz:
            raise Unsaid("the files do not say their sampling rate: say it with --hz, as in --hz 500")
        return said.hz
    if said.hz and abs(found.hz - said.hz) > 1e-6 * said.hz:
        raise MalformedRecordError(f"the file says {found.hz:g} Hz, and --hz {said.hz:g}")
    return round(found.hz, 6)


def _scale(found: Found, said: Said) -> np.ndarray:
    """Millivolts of a value of each lead, float32 [n_leads or 1, 1]."""
    if found.units is None:
        if not said.units:
            raise Unsaid("the files do not say their unit: say it with --units, as in --units mV (or uV, V, '4.88 uV')")
        return np.array([[millivolts(said.units)]], dtype=np.float32)
    try:
        scales = np.array([millivolts(unit) for unit in found.units])
    except ValueError:
        raise MalformedRecordError("the file's unit is not one of voltage") from None
    if said.units and not np.allclose(scales, millivolts(said.units)):
        raise MalformedRecordError(f"the file says {found.units[0][:10]}, and --units {said.units}")
    return scales[:, None].astype(np.float32)


def with_derived(recording: Recording) -> Recording:
    """A recording of the eight independent leads with the limb leads that its file leaves out, by Einthoven's law.

    Exports of many carts hold eight leads; what follows from these is not missing. Others are given back as they are.
    """
    lacking = [lead for lead in LIMB_LEADS if lead not in recording.leads]
    if not lacking or not set(INDEPENDENT_LEADS) <= set(recording.leads):
        return recording
    first_and_second = ordered(recording.signal, recording.leads, ("I", "II"))
    derived = TWELVE_FROM_EIGHT[[LEADS.index(lead) for lead in lacking], :2] @ first_and_second
    signal = np.concatenate([recording.signal, derived.astype(np.float32)])
    return replace(recording, signal=signal, leads=(*recording.leads, *lacking))


def leads_of(recordings: Sequence[Recording], said: Said) -> tuple[str, ...]:
    """Which leads the corpus is to have: those that are said, else those that all of some recordings have.

    Twelve wherever the eight independent ones are there. Raises Unsaid if that is not plain.
    """
    asked = tuple(our for _, our in said.named_leads)
    if asked:
        return LEADS if set(INDEPENDENT_LEADS) <= set(asked) else asked
    each = [tuple(lead for lead in recording.leads if lead in KNOWN_LEADS) for recording in recordings]
    if all(set(INDEPENDENT_LEADS) <= set(leads) for leads in each):
        return LEADS
    if not all(each):
        strange = next(recording for recording, leads in zip(recordings, each, strict=True) if not leads)
        named = ", ".join(lead[:16] for lead in strange.leads[:12])
        raise Unsaid(
            f"no lead is called as leads are ({named}): say which is which, as in --leads {strange.leads[0]}=I"
        )
    if len({frozenset(leads) for leads in each}) > 1:
        sets = sorted({", ".join(leads) for leads in each})[:3]
        raise Unsaid(f"records differ in their leads ({'; '.join(sets)}): say which are to be read, as in --leads II")
    return each[0]
