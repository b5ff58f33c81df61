"""The floor of the in-distribution loss as the joint law knows it: the best, and how far off others are."""

import math
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy import special

from ecgscale.analysis.fitting.fit import fit
from ecgscale.analysis.fitting.intervals import profile
from ecgscale.analysis.fitting.loss_pairs import EXACT, Curve
from ecgscale.analysis.fitting.newton import minimise
from ecgscale.analysis.fitting.problem import Array
from ecgscale.analysis.fitting.quantities import Parameter
from ecgscale.analysis.fitting.result import Fit
from ecgscale.analysis.fitting.starts import refit
from ecgscale.analysis.fitting.status import REACHED

PATIENCE = 60  # steps of a resample: those that take more have no floor to speak of
ANGLES = np.radians([30, 60, 90])  # of a floor: its distance is so much of the whole, the sine


@dataclass(frozen=True)
class Floor:
    """The floor of a joint law: those on its profile, a note, and whether the points can tell one at all."""

    curve: Curve
    note: str
    known: bool


def joint_of(points: pd.DataFrame, column: str) -> Fit:
    """The joint law of a column of losses (columns N, D and, where runs are cells, ``weight`` too), no intervals."""
    return fit("joint", points.assign(loss=points[column]), intervals=False)


def floor_of(cells: pd.DataFrame, column: str, level: float) -> Floor:
    """The floor of the joint law of a column of losses, with its profile."""
    found = joint_of(cells, column)
    if "E" not in found.fitted:
        return Floor(Curve(np.zeros(1), np.zeros(1)), "no floor can be known", False)
    return Floor(curve_of(found, level), found.note, found.coefficients["E"].status != "unidentified")


def drawn_floors(found: Fit, weights: Array) -> Array:
    """Floors [R] of a joint law under weights [R, n] of its points: 0 where the points tell none."""
    assert found.posed is not None
    assert found.solution is not None
    if "E" not in found.fitted:
        return np.zeros(len(weights))
    entry = found.posed.design.names.index("E")
    bare = found.solution.theta[0].copy()
    bare[entry] = (
        0.0  # from the law without its floor descents end; from the optimum itself most are still on their way
    )
    refitted = refit(replace(found.posed, weights=weights, patience=PATIENCE), bare)
    return refitted.theta[:, entry] * math.exp(found.posed.design.centre["loss"])


def curve_of(found: Fit, level: float) -> Curve:
    """Floors on the profile of a joint law, out to the ends of its interval; the best alone if it has none."""
    law, posed, solution = found.solved_law, found.posed, found.solution
    assert law is not None
    assert posed is not None
    assert solution is not None
    best = found.fitted["E"]
    freedom = int((posed.weights[0] > 0).sum()) - len(posed.design.names)
    whole = float(special.ndtri(0.5 + level / 2))
    if freedom < 1 or 2 * solution.objective[0] / freedom <= EXACT:
        return Curve(np.array([best]), np.zeros(1))
    floors, distance = [best], [0.0]
    aways = whole * np.sin(ANGLES)
    ends = profile(law, posed, solution, [Parameter("E")] * len(aways), 2 * special.ndtr(aways) - 1)
    for i, away in enumerate(aways):
        for side, end, kind in ((-1, ends.low, ends.low_end), (1, ends.high, ends.high_end)):
            if kind[i, 0] == REACHED:
                floors.append(float(end[i, 0]))
                distance.append(side * float(away))
    if best > 0 and min(distance) > -whole * (1 - 1e-9):  # the law's bound is nearer than the end
        entry = posed.design.names.index("E")
        start = np.where(np.arange(len(posed.design.names)) == entry, 0.0, solution.theta)
        at_zero = minimise(replace(posed, held=np.array([entry])), start)
        excess = max(float(at_zero.objective[0] - solution.objective[0]), 0.0)
        t = math.sqrt(excess * freedom / float(solution.objective[0]))
        floors.append(0.0)
        distance.append(max(-whole, float(special.ndtri(special.stdtr(freedom, -t)))))
    order = np.argsort(distance)
    return Curve(np.array(floors)[order], np.array(distance)[order])
