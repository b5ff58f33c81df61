"""Turns of phrase that every sentence for people shares: counts with SI prefixes, and the nearest name for a typo."""

import difflib
import math
from collections.abc import Iterable

_SI = ((1e21, "Z"), (1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "K"), (1.0, ""))
_NEAR = 0.5  # share of letters that a name and its typo have in common
_NAMED = 12  # most names in a sentence


def si(value: float | None, digits: int = 3) -> str:
    """A count for people, "–" where there is none.

    >>> si(1672), si(2e6), si(999_999), si(2e12)
    ('1.67K', '2M', '1M', '2T')
    """
    if value is None or not math.isfinite(value):
        return "–"
    scale, letter = next(((s, n) for s, n in _SI if abs(value) >= s * 0.9995), (1.0, ""))
    scaled = value / scale
    return f"{scaled:.0f}{letter}" if abs(scaled) >= 99.5 else f"{scaled:.{digits}g}{letter}"


def nearest(name: str, known: Iterable[object]) -> str | None:
    """The known name that is most like ``name``; None if none is."""
    return next(iter(difflib.get_close_matches(name, list(map(str, known)), 1, _NEAR)), None)


def did_you_mean(name: str, known: Iterable[object]) -> str:
    """The end of a sentence about an unknown name: the nearest one, else all there are, of many the nearest few.

    >>> did_you_mean("alhpa", ("alpha", "beta")), did_you_mean("x", ("alpha", "beta"))
    ("; did you mean 'alpha'?", '; there are alpha, beta')
    """
    names = [str(one) for one in known]
    near = nearest(name, names)
    if not near and len(names) > _NAMED:
        few = difflib.get_close_matches(name, names, _NAMED // 2, 0.0)
        return f"; of {len(names)} there are, the nearest are {', '.join(few)}"
    return f"; did you mean {near!r}?" if near else f"; there are {', '.join(names) or 'none'}"
