"""Looks that differ, labels that do not overlap, numbers in SI letters, and axes that an outlier does not stretch."""

import numpy as np
import pytest

from ecgscale.analysis.figures import style
from tests.drawn import OWN
from tests.planted import CONFIGURATIONS


def test_labels_are_moved_apart_in_their_order() -> None:
    places = style.apart([0.5, 0.51, 0.52, 0.1], 0.05)
    assert sorted(places)[0] == places[3]
    assert np.diff(sorted(places)).min() > 0.049
    assert places[0] < places[1] < places[2]


def test_an_outlier_is_left_out_of_the_panel_and_counted() -> None:
    values = [0.8 + 0.01 * i for i in range(14)] + [2.1]
    low, high, above = style.without_outliers(values)
    assert (low, above) == (0.8, 1)
    assert high == pytest.approx(0.93)
    assert style.without_outliers(values[:-1])[2] == 0


def test_no_two_configurations_look_alike_and_each_looks_the_same_beside_others() -> None:
    names = [*style.CONFIGURATIONS, *OWN, *(f"net{k}-sl" for k in range(15))]
    looks = style.looks(names)
    assert len({(look.colour, look.marker) for look in looks}) == len(names)
    assert style.looks(reversed(names)) == looks
    assert len({look.colour for look in style.looks([*style.CONFIGURATIONS, *OWN])}) == 13
    assert [style.looks(["gru-sl"])[0]] == [k for k in style.looks([*CONFIGURATIONS, "gru-sl"]) if k.name == "gru-sl"]
    assert [look.label for look in style.looks(CONFIGURATIONS)] == ["T-SL", "T-SSL", "R-SL", "R-SSL"]


# Machado, Oliveira & Fernandes 2009, severity 1: what eyes without one kind of cone see of linear red, green and blue.
EYES = {
    "all cones": np.eye(3),
    "protanopia": [[0.1523, 1.0526, -0.2049], [0.1145, 0.7863, 0.0992], [-0.0039, -0.0481, 1.0520]],
    "deuteranopia": [[0.3673, 0.8607, -0.2280], [0.2801, 0.6725, 0.0474], [-0.0118, 0.0429, 0.9689]],
    "tritanopia": [[1.2555, -0.0767, -0.1788], [-0.0784, 0.9308, 0.1476], [0.0047, 0.6914, 0.3039]],
}


@pytest.mark.parametrize("eyes", EYES)
def test_colours_of_configurations_are_told_apart_by_every_kind_of_eye(eyes: str) -> None:
    colours = [colour for colour, _ in style.CONFIGURATIONS.values()] + list(style.FURTHER)
    rgb = np.array([[int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in colours])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ np.array(EYES[eyes]).T, 0, 1)
    xyz = seen @ np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]).T
    f = np.cbrt(xyz / (0.9505, 1, 1.089))
    lab = np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1)
    apart = np.linalg.norm(lab[:, None] - lab[None], axis=2)[~np.eye(len(colours), dtype=bool)]
    assert apart.min() > 9  # of a scale on which 2.3 is just noticed
