"""What does not add up in the published study, found in its own tables: not to be encoded as truth anywhere."""

import math
from dataclasses import dataclass

import pandas as pd

from ecgscale.analysis.study import published
from ecgscale.analysis.study.claims.cells import grid
from ecgscale.analysis.study.claims.evidence import of_publication
from ecgscale.analysis.study.claims.exponents import fitted
from ecgscale.analysis.study.constants import REFERENCE


@dataclass(frozen=True)
class Misprint:
    """One inconsistency: where it stands in print, and what the tables say."""

    where: str
    found: str


def misprints() -> list[Misprint]:
    """Each is counted from the shipped tables; empty if the tables agreed with what is written about them."""
    return [m for m in (_consistently(), _copied(), _at_bound(), _uneven(), _echonext(), _csn(), _rows()) if m]


def _consistently() -> Misprint | None:
    evidence, pair = of_publication(), ("transformer-ssl", "transformer-sl")
    sizes, amounts = (grid(c, pair) for c in (evidence.sizes, evidence.amounts))
    above, over = (t[t[pair[0]] >= t[pair[1]]] for t in (sizes, amounts))
    least = int((over.index.get_level_values("bin") == 0).sum())
    if above.empty and over.empty:
        return None
    return Misprint(
        "Sec. 5 and B.1: T-SSL consistently outperforms T-SL",
        f"not in {len(above)} of {len(sizes)} cells of Table S.5 and {len(over)} of {len(amounts)} of Table S.6 "
        f"({least} of these at the least data)",
    )


def _copied() -> Misprint | None:
    table = published.losses_by_data()
    wide = table[table["target"] == published.COPIED].pivot(index="data_bin", columns="configuration", values="loss")
    gap = (wide["transformer-sl"] - wide["resnet-sl"]).abs()
    if gap.max() > 0.0011:
        return None
    return Misprint(
        "Table S.6: EchoNext",
        f"T-SL and R-SL are identical in {int((gap < 1e-9).sum())} of {len(gap)} columns and within "
        f"{gap.max():.3f} in the others: a copy",
    )


def _at_bound() -> Misprint | None:
    evidence = of_publication()
    kappa = {c: fitted(evidence, "kappa", c) for c in ("resnet-ssl", "resnet-sl", "transformer-sl", "transformer-ssl")}
    hits = [f"{c} {t}" for c, part in kappa.items() for t in part.index[part["at_bound"] != ""]]
    ratio = kappa["resnet-ssl"]["value"] / kappa["resnet-sl"]["value"]
    if not hits:
        return None
    return Misprint(
        "Abstract: up to 7.6 times higher transfer efficiency",
        f"{ratio['mimic-sex']:.2f} divides by a κ at its lower bound 0.050, as do {len(hits)} of 44; by the same "
        f"reckoning ICU gives {ratio['mimic-icu']:.2f}",
    )


def _uneven() -> Misprint | None:
    evidence = of_publication()
    a, b = fitted(evidence, "kappa", "resnet-ssl")["value"], fitted(evidence, "kappa", "resnet-sl")["value"]
    behind = [str(t) for t in a.index if a[t] < b[t]]
    if not behind:
        return None
    return Misprint("Sec. 5: SSL transfers better", f"κ of R-SSL is below that of R-SL on {', '.join(behind)}")


def _echonext() -> Misprint | None:
    table = published.losses_by_size()
    lowest = float(table.loc[table["target"] == "echonext", "loss"].min())
    highest = float(table.loc[table["target"] == "echonext", "loss"].max())
    entropy = -(0.52 * math.log(0.52) + 0.48 * math.log(0.48))
    if highest > 0.5:
        return None
    return Misprint(
        "Table S.1: EchoNext has one binary label",
        f"losses of {lowest:.3f} to {highest:.3f} cannot be of a label with 52 % prevalence (entropy {entropy:.3f}); "
        "they fit its eleven findings",
    )


def _csn() -> Misprint | None:
    records = pd.read_csv(REFERENCE / "table_s1.csv").set_index("dataset")["n_records"]
    n, protocol = int(records["Chapman–Shaoxing–Ningbo (CSN)"]), (16_546, 1_860, 4_620)
    if sum(protocol) == n:
        return None
    return Misprint(
        "Table S.2: CSN split 80/10/10 after Jin et al.",
        f"that protocol has {' + '.join(f'{v:,}' for v in protocol)} = {sum(protocol):,} recordings, Table S.1 {n:,}",
    )


def _rows() -> Misprint | None:
    listed = pd.read_csv(REFERENCE / "table_s1.csv")["dataset"].str.startswith("PTB-XL").sum()
    used = sum(t.startswith("ptbxl") for t in published.losses_by_size()["target"].unique())
    if listed == used:
        return None
    return Misprint("Table S.1: PTB-XL", f"{listed} label sets are listed, {used} are used (diagnostic is missing)")
