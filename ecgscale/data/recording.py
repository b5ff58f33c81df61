"""One electrocardiogram in canonical form: which leads there are, and how twelve follow from eight."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import permutations

import numpy as np
import scipy

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
LIMB_LEADS = LEADS[:6]
INDEPENDENT_LEADS = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")

# Einthoven and Goldberger: III = II - I, aVR = -(I + II) / 2, aVL = I - II / 2, aVF = II - I / 2.
TWELVE_FROM_EIGHT = np.zeros((12, 8), dtype=np.float32)
TWELVE_FROM_EIGHT[:6, :2] = np.array([[1, 0], [0, 1], [-1, 1], [-0.5, -0.5], [1, -0.5], [-0.5, 1]])
TWELVE_FROM_EIGHT[6:, 2:] = np.eye(6)

# The same four identities as rows that vanish on (I, II, III, aVR, aVL, aVF).
_EINTHOVEN = np.array([[1, -1, 1, 0, 0, 0], [0.5, 0.5, 0, 1, 0, 0], [-1, 0.5, 0, 0, 1, 0], [0.5, -1, 0, 0, 0, 1]])
_ORDERS = np.array(list(permutations(range(6))))

# Leads as models that take any of them number them.
ABSENT_LEAD, UNKNOWN_LEAD = 0, len(LEADS) + 1
N_LEAD_IDS = len(LEADS) + 2
_STANDS_FOR = {"MLII": "II"}  # the modified lead of ambulatory recorders

_CANONICAL = {name.upper(): name for name in LEADS} | {"DI": "I", "DII": "II", "DIII": "III"}


@dataclass(frozen=True)
class Recording:
    """One ECG as a reader yields it, before any filtering.

    ``signal`` is float32 [n_leads, n_samples] in the reader's unit (mV, unless its card says otherwise) at
    ``sampling_hz``, one row a name in ``leads``; NaN where the file has no value. ``beats`` are annotated R peaks
    (sample indices) and ``beat_classes`` their classes, where the dataset has them. Nothing here says who it is.
    """

    signal: np.ndarray
    sampling_hz: float
    leads: tuple[str, ...]
    beats: np.ndarray | None = None
    beat_classes: np.ndarray | None = None
    checksum: bool = True  # False: the file's own checksum says that it is damaged
    gain: str = ""  # of the file's header, as it stands there ("1000/mV"); empty: the reader knows the scale


class MalformedRecordError(ValueError):
    """A record that cannot be used; the message is a reason without any identity, so that it can be counted."""


def canonical(name: str) -> str:
    """The field's spelling of a lead name ("avr", "DII", " V1 " -> "aVR", "II", "V1"); others as they are."""
    return _CANONICAL.get(name.strip().upper(), name.strip())


def ordered(signal: np.ndarray, leads: Sequence[str], wanted: Sequence[str]) -> np.ndarray:
    """Rows of ``signal`` [n_leads, n_samples] by name, in the order ``wanted``.

    Raises MalformedRecordError for a lead that is missing or there twice.
    """
    names = [canonical(lead) for lead in leads]
    if len(names) != len(signal):
        raise MalformedRecordError(f"{len(signal)} signals but {len(names)} lead names")
    missing = [lead for lead in wanted if lead not in names]
    if missing:
        raise MalformedRecordError(f"leads missing: {', '.join(missing)}")
    if any(names.count(lead) > 1 for lead in wanted):
        raise MalformedRecordError("a lead is there twice")
    return signal if names == list(wanted) else signal[[names.index(lead) for lead in wanted]]


def einthoven_residuals(limb: np.ndarray) -> np.ndarray:
    """How far six limb leads [..., 6, n_samples] are from Einthoven's and Goldberger's identities, for every order.

    Returns [..., 720]: RMS of the four identities' residuals over RMS of the leads, with the leads taken in each
    order of names; the first is the order as given. On filtered signals of real 12-lead records the order as given
    stays under 0.015 and any wrong order above 0.03 (PTB-XL, CODE-15%, Challenge 2021, LUDB, SPH).
    """
    gram = limb @ np.swapaxes(limb, -1, -2)  # [..., 6, 6]
    in_order = gram[..., _ORDERS[:, :, None], _ORDERS[:, None, :]]  # [..., 720, 6, 6]
    squares = np.einsum("ai,...pij,aj->...p", _EINTHOVEN, in_order, _EINTHOVEN)
    size = np.trace(gram, axis1=-2, axis2=-1)[..., None]
    return np.sqrt(np.maximum(squares, 0) / np.maximum(size, 1e-12))


def why_not_einthoven(limb: np.ndarray, tolerance: float, absent: np.ndarray | None = None) -> str | None:
    """None where six limb leads [6, n_samples] obey Einthoven's law; else the reason, naming the order that would.

    ``absent`` (bool [6]): flat or missing leads; what follows from the others alone is then asked of these. Where
    four or more are absent nothing follows.
    """
    if not np.any(limb):
        return "limb leads are all zero"
    as_given = _EINTHOVEN @ limb
    if np.square(as_given).sum() <= tolerance**2 * np.square(limb).sum():
        return None
    if absent is not None and absent.any():
        return _why_not_without(limb, tolerance, absent)
    residuals = einthoven_residuals(limb.astype(np.float64))  # of every order: rarely needed, so not always computed
    best = int(np.argmin(residuals))
    if residuals[best] <= tolerance:
        found = ", ".join(LEADS[lead] for lead in np.argsort(_ORDERS[best]))
        return f"leads are permuted: what is called {', '.join(LEADS[:6])} is {found}"
    return "limb leads break Einthoven's law in every order of names"


def _why_not_without(limb: np.ndarray, tolerance: float, absent: np.ndarray) -> str | None:
    """As ``why_not_einthoven``, of the leads that are there: of the four identities those that hold without others."""
    there = np.flatnonzero(~absent)
    size = tolerance**2 * np.square(limb[there]).sum()

    def hold(names: tuple[int, ...]) -> bool:
        return bool(np.square(_identities_of(names) @ limb[there]).sum() <= size)

    if hold(tuple(there.tolist())):
        return None
    gone = ", ".join(LEADS[lead] for lead in np.flatnonzero(absent))
    if any(hold(names) for names in permutations(range(6), len(there))):  # several orders do: none is named
        return f"leads are permuted: those without {gone} (flat or missing) obey Einthoven's law in another order"
    return f"limb leads break Einthoven's law in every order of names, also without {gone} (flat or missing)"


@lru_cache(maxsize=2048)
def _identities_of(names: tuple[int, ...]) -> np.ndarray:
    """Rows [n, n_names] that vanish on these limb leads alone: combinations of the four without the others."""
    others = [lead for lead in range(6) if lead not in names]
    combinations = scipy.linalg.null_space(_EINTHOVEN[:, others].T).T
    return combinations @ _EINTHOVEN[:, list(names)]


def lead_ids(leads: Sequence[str]) -> np.ndarray:
    """Number int64 [n_leads] of each lead: 1 to 12 in canonical order, UNKNOWN_LEAD for any other name."""
    names = [_STANDS_FOR.get(lead, canonical(lead)) for lead in leads]
    return np.array([LEADS.index(name) + 1 if name in LEADS else UNKNOWN_LEAD for name in names], dtype=np.int64)


def twelve_from(leads: Sequence[str]) -> np.ndarray:
    """Matrix float32 [12, n_leads] from a corpus' stored leads to the twelve; one that stores twelve is kept.

    Raises ValueError for leads that do not determine twelve (one or two of a long recording).
    """
    if tuple(leads) == LEADS:
        return np.eye(12, dtype=np.float32)
    if tuple(leads) == INDEPENDENT_LEADS:
        return TWELVE_FROM_EIGHT
    raise ValueError(f"twelve leads do not follow from {', '.join(leads)}; use a corpus with twelve")
