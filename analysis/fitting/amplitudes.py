"""Amplitudes that are not negative: least squares in closed form over all sets of those that are not zero, compiled."""

from typing import Any

import numpy as np

from ecgscale.analysis.fitting.descent import ONE, THREE, TWO, compiled
from ecgscale.analysis.fitting.problem import Array


def subsets(moments: Array, right: Array, square: Array) -> tuple[Array, Array]:
    """Non-negative least squares, batched: best of all sets of active amplitudes.

    ``moments`` [..., K, K] and ``right`` [..., K] are the normal equations, ``square`` [...] the sum of squares of the
    target. Returns amplitudes [..., K] and residual sums of squares [...].
    """
    shape, n_terms = right.shape[:-1], right.shape[-1]
    flat = np.ascontiguousarray(moments, float).reshape(-1, n_terms, n_terms)
    target = np.ascontiguousarray(right, float).reshape(-1, n_terms)
    least = np.array(np.broadcast_to(square, shape), float, order="C").reshape(-1)
    best = np.zeros(target.shape)
    lowest_subsets(flat, target, least, best)
    return best.reshape(right.shape), least.reshape(shape)


@compiled(THREE, TWO, ONE, TWO)
def lowest_subsets(moments: Any, right: Any, least: Any, best: Any) -> None:
    """Fills ``best`` [G, K], from zero, and lowers ``least`` [G], from the sums of squares of the targets."""
    size, n_terms = right.shape
    inside = np.empty(n_terms, np.int64)
    a, answer, floor = np.empty((n_terms, n_terms)), np.empty(n_terms), np.empty(n_terms)
    for g in range(size):
        square = least[g]
        for mask in range(2**n_terms - 1, 0, -1):
            count = 0
            for k in range(n_terms):
                if mask >> k & 1:
                    inside[count] = k
                    count += 1
            for i in range(count):
                answer[i] = right[g, inside[i]]
                for j in range(count):
                    a[i, j] = moments[g, inside[i], inside[j]]
                floor[i] = max(1e-14 * abs(a[i, i]), 1e-300)
            usable = True
            for j in range(count):
                if not a[j, j] > floor[j]:
                    usable = False
                    break
                for i in range(j + 1, count):
                    factor = a[i, j] / a[j, j]
                    for k in range(j + 1, count):
                        a[i, k] -= factor * a[j, k]
                    answer[i] -= factor * answer[j]
            if not usable:
                continue
            for j in range(count - 1, -1, -1):
                for k in range(j + 1, count):
                    answer[j] -= a[j, k] * answer[k]
                answer[j] /= a[j, j]
                usable &= answer[j] > 0
            if not usable:
                continue
            rss = square
            for i in range(count):
                rss -= answer[i] * right[g, inside[i]]
            if rss < least[g]:
                least[g] = rss
                best[g] = 0.0
                for i in range(count):
                    best[g, inside[i]] = answer[i]
                if count == n_terms:  # the lowest of all, whatever their sign
                    break
