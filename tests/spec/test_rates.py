"""Learning rates by size: rules that a sweep asks, whose answer is part of each run."""

import pytest

from ecgscale.models import RESNETS, TRANSFORMERS, Net1D
from ecgscale.spec.rates import inverse_width, power_of_size, size_of
from ecgscale.spec.run import Schedule


def test_a_power_of_n_is_a_line_in_logarithms() -> None:
    rule = power_of_size(1e-3, size_of(RESNETS[2]), -0.25)
    assert rule(RESNETS[2]) == 1e-3
    for rung in RESNETS:
        expected = 1e-3 * (size_of(rung) / size_of(RESNETS[2])) ** -0.25
        assert rule(rung) == pytest.approx(expected, rel=5e-3)
    assert size_of(RESNETS[6]) + 16 * 320 * 6 + 6 == 6_950_310  # Ribeiro's, with its head
    assert float(f"{rule(RESNETS[7]):.3g}") == rule(RESNETS[7])


def test_a_width_twice_as_large_has_half_the_rate() -> None:
    rule = inverse_width(6e-3, 24)
    assert [rule(rung) for rung in TRANSFORMERS[:3]] == [6e-3, 3e-3, 1.5e-3]
    with pytest.raises(ValueError, match="a net1d has no one width"):
        rule(Net1D())


def test_rates_are_above_zero_and_the_papers_step_stays_the_default() -> None:
    with pytest.raises(ValueError, match="are above 0"):
        power_of_size(0, 1e4, -0.2)
    with pytest.raises(ValueError, match="are above 0"):
        inverse_width(1e-3, 0)
    assert [Schedule().peak_lr(size_of(rung)) for rung in (RESNETS[6], RESNETS[7])] == [1e-3, 1e-4]
