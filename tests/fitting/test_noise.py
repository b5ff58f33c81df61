"""Noise that changes with size: told from replicates, it makes weights, and intervals of what is known the narrower."""

import numpy as np
import pandas as pd
import pytest

from ecgscale.analysis.fitting.fit import BadPoints, fit
from ecgscale.analysis.fitting.laws import joint
from ecgscale.analysis.fitting.noise import replicate_weights
from ecgscale.analysis.planning.coverage import PLANTED
from tests.designs import designs


def test_replicates_tell_how_the_noise_changes() -> None:
    rng, grid = np.random.default_rng(7), designs()["distinct"]
    runs = pd.concat([grid] * 3, ignore_index=True)
    spread = 0.04 * (runs["N"] / runs["N"].min()) ** -0.3
    runs["loss"] = joint(runs["N"], runs["D"], **PLANTED) * np.exp(spread * rng.standard_normal(len(runs)))
    weights = replicate_weights(runs, ["N", "D"], "loss")
    assert np.corrcoef(np.log(weights), np.log(spread))[0, 1] < -0.9
    plain, weighted = fit("joint", runs), fit("joint", runs, weights="replicates")
    for name in ("beta", "E"):
        c, wide = weighted.coefficients[name], plain.coefficients[name]
        assert c.low < PLANTED[name] < c.high
        assert c.high - c.low < wide.high - wide.low
    with pytest.raises(BadPoints, match="weights from replicates need 6 runs"):
        fit("joint", runs.iloc[: len(grid)], weights="replicates")
    with pytest.raises(BadPoints, match="not one of equal, replicates"):
        fit("joint", runs, weights="even")
