"""Claims about losses themselves, cell by cell: which family is lowest, and which overtakes which (Tables S.5, S.6)."""

from collections.abc import Iterable
from typing import Any

import pandas as pd

from ecgscale.analysis.study.claims.evidence import Evidence
from ecgscale.analysis.study.claims.verdict import Number, Verdict, listed, over_targets, untestable
from ecgscale.analysis.study.constants import LABELS

LEAST_TARGETS = 3
LARGE = 3  # the size bin from 10M parameters
WINNERS = ("resnet-sl", "resnet-ssl", "transformer-ssl")


def grid(cells: pd.DataFrame, needed: Iterable[str] = LABELS) -> pd.DataFrame:
    """Losses by (target, bin), one column a configuration; only cells in which all ``needed`` were measured."""
    wide = cells.pivot_table(index=["target", "bin"], columns="configuration", values="loss")
    return wide.reindex(columns=list(LABELS)).dropna(subset=list(needed))


def _lacking(wide: pd.DataFrame, what: str) -> Verdict | None:
    n = wide.index.get_level_values("target").nunique()
    if n >= LEAST_TARGETS:
        return None
    return untestable(f"{what} on {n} tasks; at least {LEAST_TARGETS} are needed")


def _share(flags: "pd.Series[bool]") -> tuple[float, float, float]:
    """Share of cells, with its interval under a bootstrap over tasks."""
    counted = flags.groupby(level="target").agg(["sum", "count"]).to_numpy(float)
    return (float(flags.mean()), *over_targets(counted, lambda v: v[..., 0].sum(0) / v[..., 1].sum(0)))


def _cells_of(flags: "pd.Series[bool]") -> list[str]:
    return [f"{target} bin {_bin(bin_)}" for target, bin_ in flags.index[flags]]  # type: ignore[misc]


def _bin(value: Any) -> int:
    return int(value) + 1


def residual_networks_lowest(evidence: Evidence) -> Verdict:
    """Claim 9: a residual network has the lowest loss in most cells of size bin and task."""
    wide = grid(evidence.sizes)
    if lacking := _lacking(wide, "all four configurations share a size bin"):
        return lacking
    best = wide.idxmin(axis=1)
    flags = best.isin(["resnet-sl", "resnet-ssl"])
    numbers = [Number("share of cells that a ResNet wins", *_share(flags))]
    counts = best.groupby(level="bin").value_counts().unstack(fill_value=0)
    by_bin = []
    for bin_, row in counts.iterrows():
        wins = [int(row.get(name, 0)) for name in WINNERS]
        by_bin.append("/".join(map(str, wins)))
        for name, n in zip(WINNERS, wins, strict=True):
            numbers.append(Number(f"wins of {LABELS[name]}, size bin {_bin(bin_)}", n))
    why = f"R-SL/R-SSL/T-SSL win {', '.join(by_bin)} by size bin; ResNets {int(flags.sum())} of {len(flags)} cells"
    return Verdict(bool(flags.mean() > 0.5), why, tuple(numbers))


def little_data_favours_contrast(evidence: Evidence) -> Verdict:
    """Claim 10: R-SSL wins at the smallest data; with all of it R-SL overtakes on adult ECG interpretation."""
    wide = grid(evidence.amounts)
    if lacking := _lacking(wide, "all four configurations saw the same fractions"):
        return lacking
    best = wide.idxmin(axis=1).unstack("bin")
    least, most = best.columns.min(), best.columns.max()
    if least == most:
        return untestable("all four configurations share one amount of data; two are needed")
    first, last = best[least].dropna(), best[most].dropna()
    share = first == "resnet-ssl"
    overtaken = [str(t) for t in last.index[last == "resnet-sl"] if str(first.get(t, "")).endswith("-ssl")]
    n = len(share)
    paper = {"resnet-sl": 3, "resnet-ssl": 6, "transformer-ssl": 2}
    numbers = (
        Number(
            "share that R-SSL wins at the smallest data",
            float(share.mean()),
            *over_targets(share.to_numpy(float), lambda v: v.mean(0)),
            paper=10 / 11,
        ),
        *(
            Number(f"wins of {LABELS[name]} at full data", int((last == name).sum()), paper=paper[name])
            for name in WINNERS
        ),
        Number("tasks on which SL overtakes with data", len(overtaken), paper=3, note=listed(overtaken)),
    )
    copied = "; EchoNext's two supervised columns are one and the same in print" if evidence.printed else ""
    why = (
        f"R-SSL wins {int(share.sum())} of {n} at the smallest data; at full data R-SL/R-SSL/T-SSL win "
        f"{'/'.join(str(int((last == name).sum())) for name in WINNERS)}; SL overtakes on {listed(overtaken)}{copied}"
    )
    return Verdict(bool(share.mean() > 0.5 and overtaken), why, numbers)


def masked_below_supervised(evidence: Evidence) -> Verdict:
    """Claim 11: Transformers trained by masking are below supervised ones in every cell ("consistently")."""
    pair = ("transformer-ssl", "transformer-sl")
    sizes, amounts = grid(evidence.sizes, pair), grid(evidence.amounts, pair)
    if lacking := _lacking(sizes, "both Transformers were measured"):
        return lacking
    below, over = (t[pair[0]] < t[pair[1]] for t in (sizes, amounts))
    numbers = [Number("share of size cells", *_share(below), paper=1.0, note=f"{int(below.sum())} of {len(below)}")]
    exceptions = ~below
    why = f"T-SSL is below T-SL in {int(below.sum())} of {len(below)} size cells"
    if len(over):
        later = over[over.index.get_level_values("bin") > over.index.get_level_values("bin").min()]
        numbers.append(Number("share of data cells", *_share(over), note=f"{int(over.sum())} of {len(over)}"))
        numbers.append(
            Number(
                "share of data cells without the smallest amount",
                *_share(later),
                note=f"{int(later.sum())} of {len(later)}",
            )
        )
        why += (
            f" and {int(over.sum())} of {len(over)} data cells ({int(later.sum())} of {len(later)} without the least)"
        )
    if exceptions.any():
        why += f"; not in {listed(_cells_of(exceptions))}: not consistently"
    if evidence.printed:
        why += "; T-SL on EchoNext over data is a copy of R-SL in print"
    return Verdict(not exceptions.any() and bool(over.all()), why, tuple(numbers))


def masked_overtakes_when_large(evidence: Evidence) -> Verdict:
    """Claim 12: T-SSL is below R-SSL only at the largest sizes."""
    pair = ("transformer-ssl", "resnet-ssl")
    wide = grid(evidence.sizes, pair)
    if lacking := _lacking(wide, "both self-supervised configurations share a size bin"):
        return lacking
    below = wide[pair[0]] < wide[pair[1]]
    by_bin = below.groupby(level="bin").agg(["sum", "count"])
    if len(by_bin) < 2:
        return untestable("both self-supervised configurations share one size bin; two are needed")
    if by_bin.index.max() < LARGE:
        return untestable("no model has ten million parameters; the claim is about the largest sizes")
    shares = (by_bin["sum"] / by_bin["count"]).to_numpy()
    counts = ", ".join(f"{int(s)} of {int(c)}" for s, c in by_bin.to_numpy())
    largest = by_bin.index.max()
    at_largest = below[below.index.get_level_values("bin") == largest]
    numbers = (
        Number("share of tasks, largest bin", *_share(at_largest)),
        *(
            Number(f"tasks, size bin {_bin(b)}", int(n), note=f"of {int(c)}")
            for b, (n, c) in zip(by_bin.index, by_bin.to_numpy(), strict=True)
        ),
    )
    small = below[below.index.get_level_values("bin") < LARGE]
    names = sorted(set(at_largest.index.get_level_values("target")[at_largest]))
    why = f"T-SSL is below R-SSL on {counts} tasks by size bin; at the largest on {listed(names)}"
    if small.any():
        why += f"; also at smaller sizes, in {int(small.sum())} cells ({listed(_cells_of(small), 4)})"
    return Verdict(bool(shares[-1] > 0 and not small.any()), why, numbers)
