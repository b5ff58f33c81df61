"""Counts with SI letters, and the nearest name for a typo, as every verb, figure and table writes them."""

import math

import pytest

from ecgscale.phrases import did_you_mean, nearest, si


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *[(0, "0"), (0.25, "0.25"), (90, "90"), (500, "500"), (999.9, "1K"), (1672, "1.67K"), (155e3, "155K")],
        *[(999_499, "999K"), (999_999, "1M"), (2e6, "2M"), (2.09e6, "2.09M"), (2.1e9, "2.1G"), (-173_392, "-173K")],
        *[(1.2e12, "1.2T"), (2e12, "2T"), (3e15, "3P"), (1e18, "1E"), (2.5e21, "2.5Z")],
        *[(None, "–"), (math.nan, "–"), (math.inf, "–")],
    ],
)
def test_counts_are_written_with_si_letters(value: float | None, text: str) -> None:
    assert si(value) == text


def test_counts_are_as_short_as_asked() -> None:
    assert (si(1672, 2), si(155e3, 2), si(1e6, 2)) == ("1.7K", "155K", "1M")


def test_a_typo_is_answered_with_the_nearest_name_else_with_all() -> None:
    names = ("resnet-sl", "resnet-ssl", "vit-dino")
    assert did_you_mean("resnet-ls", names) == "; did you mean 'resnet-sl'?"
    assert did_you_mean("qq", dict.fromkeys(names)) == "; there are resnet-sl, resnet-ssl, vit-dino"
    assert did_you_mean("qq", ()) == "; there are none"
    assert nearest("vit", names) == "vit-dino"
    assert nearest("qq", names) is None
