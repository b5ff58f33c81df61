"""Labels that do not overlap, numbers in SI letters, and axes that an outlier does not stretch."""

import numpy as np
import pytest

from analysis.figures import style


def test_labels_are_moved_apart_in_their_order() -> None:
    places = style.apart([0.5, 0.51, 0.52, 0.1], 0.05)
    assert sorted(places)[0] == places[3]
    assert np.diff(sorted(places)).min() > 0.049
    assert places[0] < places[1] < places[2]


@pytest.mark.parametrize(
    ("value", "text"),
    [(1672, "1.67K"), (2e6, "2M"), (999.9, "1K"), (500, "500"), (1.2e12, "1.2T"), (155e3, "155K"), (0.25, "0.25")],
)
def test_counts_are_written_with_si_letters(value: float, text: str) -> None:
    assert style.si(value) == text


def test_an_outlier_is_left_out_of_the_panel_and_counted() -> None:
    values = [0.8 + 0.01 * i for i in range(14)] + [2.1]
    low, high, above = style.without_outliers(values)
    assert (low, above) == (0.8, 1)
    assert high == pytest.approx(0.93)
    assert style.without_outliers(values[:-1])[2] == 0
