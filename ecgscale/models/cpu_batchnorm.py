"""Batch normalisation with ReLU and dropout behind it, and its gradient, each in two passes over memory; compiled.

Arrays are float32 [n_rows, n_columns]: a row holds the channels of a few samples one behind the other, so that column
j belongs to channel j modulo the channels. Sums run down 64 rows in float32 and on from there in float64. What is
dropped is a function of a seed and of the place, computed where it is asked for and never stored.
"""

import numpy as np

from ecgscale.data.compiling import compiled

_BLOCK = 64


@compiled("boolean(int64, uint32, uint32)")
def kept(place: int, seed: int, threshold: int) -> bool:
    """Whether a place is not dropped: it is with a probability of threshold / 2^32 (C. Wellons' hash triple32).

    Of his hashes of two rounds the best lets places 12,288 apart drop together by a correlation of 0.02.
    """
    mixed = np.uint32(np.uint32(place) + seed)
    mixed = np.uint32((mixed ^ (mixed >> np.uint32(17))) * np.uint32(0xED5AD4BB))
    mixed = np.uint32((mixed ^ (mixed >> np.uint32(11))) * np.uint32(0xAC4C1B51))
    mixed = np.uint32((mixed ^ (mixed >> np.uint32(15))) * np.uint32(0x31848BAB))
    return bool(np.uint32(mixed ^ (mixed >> np.uint32(14))) >= threshold)


@compiled(
    "void(float32[:, ::1], float32[::1], float32[::1], float64, float64, float64, uint32, float32[::1], float32[::1],"
    " float64, float64[:, ::1], float32[:, ::1], float32[:, ::1])"
)
def normalise(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray,
    eps: float,
    floor: float,
    rate: float,
    seed: int,
    running_mean: np.ndarray,
    running_var: np.ndarray,
    momentum: float,
    found: np.ndarray,
    scaled: np.ndarray,
    out: np.ndarray,
) -> None:
    """``out`` is x normalised by channel and no less than ``floor``; a share ``rate`` dropped, the rest made up for it.

    ``found`` [2, n_channels] becomes each channel's mean and inverse deviation, ``scaled`` [2, n_columns] the straight
    line that is ``out`` above the floor; the running statistics move by ``momentum`` to the new ones, as PyTorch's do.
    """
    n_rows, n_columns = x.shape
    n_channels = len(weight)
    n = n_rows * (n_columns // n_channels)
    origin = x[0].copy()  # deviations from it are small, so that their squares lose no digits
    sums, squares = np.zeros(n_columns), np.zeros(n_columns)
    short_sums, short_squares = np.empty(n_columns, np.float32), np.empty(n_columns, np.float32)
    for first in range(0, n_rows, _BLOCK):
        short_sums[:] = 0
        short_squares[:] = 0
        for row in range(first, min(n_rows, first + _BLOCK)):
            for j in range(n_columns):
                value = x[row, j] - origin[j]
                short_sums[j] += value
                short_squares[j] += value * value
        for j in range(n_columns):
            sums[j] += short_sums[j]
            squares[j] += short_squares[j]
    for channel in range(n_channels):
        mean = 0.0
        for j in range(channel, n_columns, n_channels):
            mean += sums[j] + n_rows * np.float64(origin[j])
        mean /= n
        variance = 0.0
        for j in range(channel, n_columns, n_channels):
            inside = sums[j] / n_rows
            beside = inside + origin[j] - mean
            variance += squares[j] - n_rows * (inside * inside - beside * beside)
        variance = max(variance, 0.0) if variance == variance else variance
        inverse = 1 / np.sqrt(variance / n + eps)
        found[0, channel], found[1, channel] = mean, inverse
        running_mean[channel] += momentum * (mean - running_mean[channel])
        running_var[channel] += momentum * (variance / (n - 1) - running_var[channel])
        for j in range(channel, n_columns, n_channels):
            scaled[0, j] = weight[channel] * inverse
            scaled[1, j] = bias[channel] - mean * weight[channel] * inverse
    slope, offset, least = scaled[0], scaled[1], np.float32(floor)
    threshold, made_up = np.uint32(rate * 2.0**32), np.float32(1 / (1 - rate))
    for row in range(n_rows):
        for j in range(n_columns):
            value = x[row, j] * slope[j] + offset[j]
            value = least if value <= least else value  # what is no number stays none
            out[row, j] = value
        if threshold > 0:
            for j in range(n_columns):
                times = made_up if kept(row * n_columns + j, seed, threshold) else np.float32(0)
                out[row, j] *= times


@compiled(
    "void(float32[::1], float32[::1], float32[::1], float32[::1], float32[::1], float32, int64, uint32, uint32,"
    " float32)"
)
def _pass(
    passing: np.ndarray,
    by_out: np.ndarray,
    x: np.ndarray,
    slope: np.ndarray,
    offset: np.ndarray,
    least: float,
    row: int,
    seed: int,
    threshold: int,
    made_up: float,
) -> None:
    """What of a row's gradient passes the dropout and the ReLU."""
    for j in range(len(x)):
        passing[j] = np.float32(0) if x[j] * slope[j] + offset[j] <= least else by_out[j]
    if threshold > 0:
        for j in range(len(x)):
            times = made_up if kept(row * len(x) + j, seed, threshold) else np.float32(0)
            passing[j] *= times


@compiled(
    "void(float32[:, ::1], float32[:, ::1], float32[::1], float64[:, ::1], float32[:, ::1], float64, float64, uint32,"
    " float32[:, ::1], float32[:, ::1])"
)
def differentiate(
    by_out: np.ndarray,
    x: np.ndarray,
    weight: np.ndarray,
    found: np.ndarray,
    scaled: np.ndarray,
    floor: float,
    rate: float,
    seed: int,
    by_x: np.ndarray,
    by_parameters: np.ndarray,
) -> None:
    """The loss' gradient by x and by weight and bias [2, n_channels], from that by ``out`` (Ioffe and Szegedy 2015)."""
    n_rows, n_columns = x.shape
    n_channels = len(weight)
    n = n_rows * (n_columns // n_channels)
    slope, offset, least = scaled[0], scaled[1], np.float32(floor)
    threshold, made_up = np.uint32(rate * 2.0**32), np.float32(1 / (1 - rate))
    passing = np.empty(n_columns, np.float32)
    means = np.empty(n_columns, np.float32)
    for j in range(n_columns):
        means[j] = found[0, j % n_channels]
    sums, products = np.zeros(n_columns), np.zeros(n_columns)
    short_sums, short_products = np.empty(n_columns, np.float32), np.empty(n_columns, np.float32)
    for first in range(0, n_rows, _BLOCK):
        short_sums[:] = 0
        short_products[:] = 0
        for row in range(first, min(n_rows, first + _BLOCK)):
            _pass(passing, by_out[row], x[row], slope, offset, least, row, seed, threshold, made_up)
            for j in range(n_columns):
                short_sums[j] += passing[j]
                short_products[j] += passing[j] * (x[row, j] - means[j])
        for j in range(n_columns):
            sums[j] += short_sums[j]
            products[j] += short_products[j]
    turn, shift = np.empty(n_columns, np.float32), np.empty(n_columns, np.float32)
    for channel in range(n_channels):
        mean, inverse = found[0, channel], found[1, channel]
        total, product = 0.0, 0.0
        for j in range(channel, n_columns, n_channels):
            total += sums[j]
            # the mean was rounded to float32 in the loop above
            product += products[j] + sums[j] * (np.float64(means[j]) - mean)
        by_parameters[0, channel], by_parameters[1, channel] = product * inverse, total
        turned = -weight[channel] * inverse**3 * product / n
        for j in range(channel, n_columns, n_channels):
            turn[j] = turned
            shift[j] = -weight[channel] * inverse * total / n - mean * turned
    for row in range(n_rows):
        _pass(passing, by_out[row], x[row], slope, offset, least, row, seed, threshold, made_up)
        for j in range(n_columns):
            by_x[row, j] = passing[j] * slope[j] + x[row, j] * turn[j] + shift[j]
