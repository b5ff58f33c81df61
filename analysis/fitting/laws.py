"""Scaling laws as plain functions with bounds: loss as a sum of power-law terms of N, D, C or another loss.

A law whose terms are log-linear in their coefficients carries those terms, so that the batched solver can fit it; one
that is no such sum says which coefficients are exponents and scales, and is linear in the rest (``nonlinear``).
Argument names are the names of its coefficients. Symbols: N parameters, D unique pretraining recordings, U unique
recordings that are seen several times, C FLOP, E the irreducible loss; losses in nats.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np

from ecgscale.analysis.fitting.repetition import overfitting, repeated, repeated_excess
from ecgscale.registry import Registry

EXPONENT = (0.005, 3.0)  # below, a power law cannot be told from a logarithm over the decades that are ever measured
TRANSFER = (0.05, 5.0)  # the bounds whose lower one 8 of the paper's 44 kappas sit on (Table S.7)


@dataclass(frozen=True)
class Term:
    """``amplitude * prod(variable ** (sign * exponent))``; ``powers`` maps exponent -> (variable, sign)."""

    amplitude: str
    powers: Mapping[str, tuple[str, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Law:
    """A law: its function, the columns it reads, its coefficients with bounds, and its terms where it is a sum.

    Of a law without terms: ``powers`` are its exponents, ``scales`` its positive coefficients that are neither linear
    nor exponents, each with the variable in whose units it is ("1/N": in inverse ones, "": a number), and ``signed``
    the linear ones that may be negative. ``written`` is the formula that somebody typed for a law of the registry.
    """

    name: str
    function: Callable[..., Any]
    variables: tuple[str, ...]
    coefficients: tuple[str, ...]
    terms: tuple[Term, ...] = ()
    bounds: Mapping[str, tuple[float, float]] = field(default_factory=lambda: MappingProxyType({}))
    source: str = ""
    powers: tuple[str, ...] = ()
    scales: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    signed: tuple[str, ...] = ()
    written: str = ""

    @property
    def shown(self) -> str:
        """What it is called for whoever asked for it: the formula as typed, else its name."""
        return self.written or self.name

    @cached_property
    def exponents(self) -> tuple[str, ...]:
        """Coefficients that are exponents, in the order of the coefficients."""
        return tuple(c for c in self.coefficients if c in self.powers or any(c in t.powers for t in self.terms))

    @property
    def linear(self) -> tuple[str, ...]:
        """Coefficients that the loss is linear in, in the order of the coefficients."""
        return tuple(c for c in self.coefficients if c not in self.exponents and c not in self.scales)

    def variables_used(self) -> set[str]:
        """Columns that the terms read."""
        return {variable for term in self.terms for variable, _ in term.powers.values()}

    @property
    def response(self) -> str:
        """The column that the law explains."""
        return "loss_ood" if self.variables == ("loss_id",) else "loss"

    def bound(self, coefficient: str) -> tuple[float, float]:
        """Bounds of a coefficient; amplitudes and floors are non-negative."""
        usual = EXPONENT if coefficient in self.exponents else (0.0, np.inf)
        return self.bounds.get(coefficient, (-np.inf, np.inf) if coefficient in self.signed else usual)

    def __call__(self, coefficients: Mapping[str, Any], **x: Any) -> Any:
        """Predicted loss at ``x`` (arrays named as ``variables``)."""
        return self.function(*(x[v] for v in self.variables), **{c: coefficients[c] for c in self.coefficients})

    def up_to(self, exponent: float) -> "Law":
        """The same law with another upper bound on its exponents (not on kappa, which has bounds of its own)."""
        bounds = {name: (self.bound(name)[0], exponent) for name in self.exponents}
        bounds |= {name: (-exponent, exponent) for name in bounds if self.bound(name)[0] < 0}
        return replace(self, bounds=MappingProxyType({**self.bounds, **bounds}))

    @property
    def boundable(self) -> tuple[str, ...]:
        """Coefficients that may be given other bounds: exponents and, of a sum of power laws, the floor."""
        floors = {t.amplitude for t in self.terms if not t.powers}
        return tuple(c for c in self.coefficients if c in floors or c in self.exponents)

    def within(self, bounds: Mapping[str, tuple[float, float]]) -> "Law":
        """The same law with other bounds on some of its coefficients (``boundable``)."""
        return replace(self, bounds=MappingProxyType({**self.bounds, **bounds}))

    def without(self, amplitude: str) -> "Law":
        """The same law with one term taken out (its amplitude held at zero)."""
        terms = tuple(t for t in self.terms if t.amplitude != amplitude)
        kept = {name for t in terms for name in (t.amplitude, *t.powers)}
        gone = {c: 0.0 for c in self.coefficients if c not in kept}

        def function(*x: Any, **c: Any) -> Any:
            return self.function(*x, **c, **gone)

        coefficients = tuple(c for c in self.coefficients if c in kept)
        return Law(self.name, function, self.variables, coefficients, terms, self.bounds, self.source)


def joint(N: Any, D: Any, E: Any, A: Any, alpha: Any, B: Any, beta: Any) -> Any:
    """``E + A N^-alpha + B D^-beta`` (Eq. 1; Hoffmann et al. 2022)."""
    return E + A * N**-alpha + B * D**-beta


def tied(N: Any, D: Any, E: Any, A: Any, B: Any, gamma: Any) -> Any:
    """Eq. 1 with one exponent for N and D (Gadre et al. 2024)."""
    return E + A * N**-gamma + B * D**-gamma


def interaction(N: Any, D: Any, E: Any, A: Any, alpha: Any, B: Any, beta: Any, G: Any) -> Any:
    """Eq. 1 with a product term, ``+ G N^-alpha D^-beta``: does data help small and large models alike?"""
    return E + A * N**-alpha + B * D**-beta + G * N**-alpha * D**-beta


def kaplan(N: Any, D: Any, E: Any, A: Any, alpha: Any, B: Any, beta: Any) -> Any:
    """``E + ((A/N)^(alpha/beta) + B/D)^beta`` (Kaplan et al. 2020, Eq. 1.5, with a floor)."""
    return E + ((A / N) ** (alpha / beta) + B / D) ** beta


def size(N: Any, E: Any, A: Any, alpha: Any) -> Any:
    """``E_N + A N^-alpha`` at full data (Eq. 2)."""
    return E + A * N**-alpha


def data(D: Any, E: Any, B: Any, beta: Any) -> Any:
    """``E_D + B D^-beta`` at a fixed size (Eq. 2)."""
    return E + B * D**-beta


def pure_size(N: Any, A: Any, alpha: Any) -> Any:
    """Eq. 2 without a floor: is there saturation at all?"""
    return A * N**-alpha


def pure_data(D: Any, B: Any, beta: Any) -> Any:
    """Eq. 2 without a floor."""
    return B * D**-beta


def compute(C: Any, E: Any, k: Any, gamma: Any) -> Any:
    """``E + k C^-gamma``: a loss curve over compute."""
    return E + k * C**-gamma


def frontier(C: Any, E: Any, k: Any, gamma: Any, C0: Any) -> Any:
    """``E + k (C + C0)^-gamma``: the compute frontier with a low-compute offset (Fig. 5a; Zhai et al. 2022)."""
    return E + k * (C + C0) ** -gamma


def transfer(loss_id: Any, E_id: Any, E_ood: Any, K: Any, kappa: Any) -> Any:
    """``E_ood + K (loss_id - E_id)^kappa`` (Eq. 4); NaN below the floor."""
    with np.errstate(invalid="ignore"):
        return E_ood + K * np.asarray(loss_id - E_id) ** kappa


def _problem(name: str, thing: Any) -> str:
    if not isinstance(thing, Law):
        return "it is no analysis.fitting.laws.Law"
    return "" if thing.name == name else f"its name is {thing.name!r}"


_OURS = {
    law.name: law
    for law in (
        Law(
            "joint",
            joint,
            ("N", "D"),
            ("E", "A", "alpha", "B", "beta"),
            (Term("E"), Term("A", {"alpha": ("N", -1)}), Term("B", {"beta": ("D", -1)})),
            source="Eq. 1",
        ),
        Law(
            "tied",
            tied,
            ("N", "D"),
            ("E", "A", "B", "gamma"),
            (Term("E"), Term("A", {"gamma": ("N", -1)}), Term("B", {"gamma": ("D", -1)})),
            source="Gadre et al. 2024",
        ),
        Law(
            "interaction",
            interaction,
            ("N", "D"),
            ("E", "A", "alpha", "B", "beta", "G"),
            (
                Term("E"),
                Term("A", {"alpha": ("N", -1)}),
                Term("B", {"beta": ("D", -1)}),
                Term("G", {"alpha": ("N", -1), "beta": ("D", -1)}),
            ),
            source="Eq. 1 with a product term",
        ),
        Law(
            "kaplan",
            kaplan,
            ("N", "D"),
            ("E", "A", "alpha", "B", "beta"),
            source="Kaplan et al. 2020, Eq. 1.5",
            powers=("alpha", "beta"),
            scales=MappingProxyType({"A": "N", "B": "D"}),
        ),
        Law(
            "repeated",
            repeated,
            ("N", "U", "epochs"),
            ("E", "A", "alpha", "B", "beta", "R"),
            source="Muennighoff et al. 2023, Eq. 5",
            powers=("alpha", "beta"),
            scales=MappingProxyType({"R": ""}),
        ),
        Law(
            "repeated_excess",
            repeated_excess,
            ("N", "U", "epochs"),
            ("E", "A", "alpha", "B", "beta", "R", "R_N", "ratio"),
            source="Muennighoff et al. 2023, Eqs. 5 and 6, with a fitted ratio",
            powers=("alpha", "beta"),
            scales=MappingProxyType({"R": "", "R_N": "", "ratio": "N/U"}),
        ),
        Law(
            "overfitting",
            overfitting,
            ("N", "U", "epochs"),
            ("E", "A", "alpha", "B", "beta", "G", "delta"),
            source="Eq. 1 with an additive penalty; after Lovelace et al. 2026",
            powers=("alpha", "beta", "delta"),
        ),
        Law("size", size, ("N",), ("E", "A", "alpha"), (Term("E"), Term("A", {"alpha": ("N", -1)})), source="Eq. 2"),
        Law("data", data, ("D",), ("E", "B", "beta"), (Term("E"), Term("B", {"beta": ("D", -1)})), source="Eq. 2"),
        Law("pure_size", pure_size, ("N",), ("A", "alpha"), (Term("A", {"alpha": ("N", -1)}),), source="Eq. 2, E = 0"),
        Law("pure_data", pure_data, ("D",), ("B", "beta"), (Term("B", {"beta": ("D", -1)}),), source="Eq. 2, E = 0"),
        Law("compute", compute, ("C",), ("E", "k", "gamma"), (Term("E"), Term("k", {"gamma": ("C", -1)}))),
        Law("frontier", frontier, ("C",), ("E", "k", "gamma", "C0"), source="Fig. 5a; Zhai et al. 2022"),
        Law(
            "transfer",
            transfer,
            ("loss_id",),
            ("E_id", "E_ood", "K", "kappa"),
            bounds=MappingProxyType({"kappa": TRANSFER}),
            source="Eq. 4, E_ood fitted on the pairs",
        ),
        Law(
            "transfer_joint",
            transfer,
            ("loss_id",),
            ("E_id", "E_ood", "K", "kappa"),
            bounds=MappingProxyType({"kappa": TRANSFER}),
            source="Eq. 4, both floors from joint laws, as in the paper",
        ),
    )
}
LAWS: Registry[Law] = Registry("laws", _OURS, _problem)
