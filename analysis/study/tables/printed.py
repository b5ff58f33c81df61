"""Tables as the paper prints them (arXiv 2605.17276v1, CC BY 4.0), from the numbers that ship."""

from dataclasses import replace

import numpy as np
import pandas as pd

from ecgscale.analysis.study.constants import FRACTIONS, LABELS, REFERENCE, SIZE_BINS
from ecgscale.analysis.study.tables.sheet import BOUND, Sheet, interval, lowest_bold, number
from ecgscale.phrases import si

SOURCE = "arXiv 2605.17276v1, CC BY 4.0"
NOT_PRINTED = "the edges of the bins are not printed; these are restored"


def read(name: str) -> pd.DataFrame:
    """One shipped table."""
    return pd.read_csv(REFERENCE / f"table_{name}.csv")


def instead(sheet: Sheet, why: str) -> Sheet:
    """A printed table in the place of one that results cannot fill."""
    return replace(sheet, missing=(*sheet.missing, f"{why}; these are the published numbers"))


def datasets() -> Sheet:
    """S.1: what is probed."""
    t = read("s1")
    rows = [(r["dataset"], si(r["n_patients"]), si(r["n_records"]), r["label_space"]) for r in t.to_dict("records")]
    header = ("Dataset", "Patients", "Recordings", "Labels")
    return Sheet("s1", "Datasets out of distribution", t, header, tuple(rows), SOURCE)


def splits() -> Sheet:
    """S.2: splits and preprocessing."""
    t = read("s2")
    rows = [
        (r["dataset"], *(_percent(r[k]) for k in ("train", "val", "test")), _text(r["preprocessing"]), r["reference"])
        for r in t.to_dict("records")
    ]
    header = ("Dataset", "Train", "Validation", "Test", "Preprocessing", "After")
    return Sheet("s2", "Splits and preprocessing", t, header, tuple(rows), SOURCE)


def domains() -> Sheet:
    """S.3: clinical domains of the tasks."""
    t = read("s3")
    rows = [(r["category"], r["domain"], r["dataset"], r["task"]) for r in t.to_dict("records")]
    return Sheet("s3", "Domains of the tasks", t, ("", "Domain", "Dataset", "Task"), tuple(rows), SOURCE)


def configurations() -> Sheet:
    """S.4: backbones by size bin; ResNet (depth, width), Transformer (layers, width, heads, feed-forward width)."""
    t = read("s4")
    rows = []
    for r in t.to_dict("records"):
        shape = [int(r[k]) for k in ("depth", "width", "heads", "ffn") if not np.isnan(r[k])]
        rows.append(
            (SIZE_BINS[r["param_bin"]], r["architecture"], f"({', '.join(map(str, shape))})", si(r["n_params"]))
        )
    note = f"Parameters of the backbone without heads, counted here; {NOT_PRINTED}."
    return Sheet("s4", "Backbones", t, ("Scale", "Architecture", "Configuration", "N"), tuple(rows), SOURCE, note)


def losses_by_size() -> Sheet:
    """S.5: test loss by size bin at full data."""
    note = f"Test loss (nats) by parameters, full data; lowest in bold; {NOT_PRINTED}."
    return by_bins("s5", "Loss by size", read("s5").rename(columns={"param_bin": "bin"}), SIZE_BINS, SOURCE, note, 4)


def losses_by_data() -> Sheet:
    """S.6: test loss by amount of pretraining data at one size."""
    names = tuple(f"{100 * fraction:g} %" for fraction in FRACTIONS)
    note = (
        "Test loss (nats) by pretraining data at one size; lowest in bold; the fractions are not printed, these fit "
        "best. The EchoNext losses of T-SL are a copy of those of R-SL."
    )
    return by_bins("s6", "Loss by data", read("s6").rename(columns={"data_bin": "bin"}), names, SOURCE, note, 4)


def by_bins(
    name: str, title: str, cells: pd.DataFrame, bins: tuple[str, ...], source: str, note: str, digits: int
) -> Sheet:
    """Losses of cells (target, bin, configuration, loss), one row a target and configuration, one column a bin."""
    order = {c: i for i, c in enumerate(("transformer-sl", "transformer-ssl", "resnet-sl", "resnet-ssl"))}
    levels = sorted(cells["bin"].unique())
    rows = []
    for target, part in cells.groupby("target", sort=False):
        wide = part.pivot_table(index="configuration", columns="bin", values="loss").reindex(columns=levels)
        wide = wide.loc[sorted(wide.index, key=lambda c: (order.get(c, len(order)), c))]
        columns = [lowest_bold(wide[level].tolist(), digits) for level in levels]
        for i, configuration in enumerate(wide.index):
            first = str(target) if i == 0 else ""
            rows.append((first, LABELS.get(configuration, configuration), *(column[i] for column in columns)))
    header = ("Dataset", "Configuration", *(bins[int(b)] if float(b).is_integer() else f"{b:.3g}" for b in levels))
    return Sheet(name, title, cells, header, tuple(rows), source, note)


def transfer() -> Sheet:
    """S.7: transfer from the in-distribution loss (Eq. 4)."""
    t = read("s7").assign(low=np.nan, high=np.nan)
    t["at_bound"] = np.where(t["kappa"].round(3) == 0.05, "low", "")
    return of_transfer(t, SOURCE, "Printed without intervals.", 3)


def of_transfer(table: pd.DataFrame, source: str, note: str, digits: int) -> Sheet:
    """K, kappa with its interval and R2 of each target and configuration, and their mean and standard deviation."""
    rows, order = [], [c for c in LABELS if c in set(table["configuration"])]
    order += sorted(set(table["configuration"]) - set(order))
    by = {(r["target"], r["configuration"]): r for r in table.to_dict("records")}
    targets = list(table["target"].unique())

    def cells(target: str, configuration: str) -> tuple[str, ...]:
        r = by.get((target, configuration))
        if r is None:
            return ("–", "–", "–")
        kappa = interval(r, "kappa", digits, BOUND if r["at_bound"] else "")
        return (number(r["K"]), kappa, number(r["R2"], 2))

    for target in targets:
        rows.append((str(target), *(c for name in order for c in cells(target, name))))
    for title, statistic in (("Mean", np.mean), ("Std (population)", np.std)):
        found = [
            number(float(statistic(table.loc[table["configuration"] == c, k].dropna())), d)
            for c in order
            for k, d in (("K", 3), ("kappa", 3), ("R2", 2))
        ]
        rows.append((title, *found))
    header = ("Dataset", *(f"{LABELS.get(c, c)} {k}" for c in order for k in ("K", "κ", "R²")))
    hits = int((table["at_bound"] != "").sum())
    note = f"{note} {BOUND} at a bound of the fit ({hits} of {len(table)}): not an estimate."
    return Sheet("s7", "Transfer from the loss in distribution (Eq. 4)", table, header, tuple(rows), source, note)


def fine_tuning() -> Sheet:
    """S.8: settings of fine-tuning."""
    t = read("s8")
    keys = ("model", "learning_rate", "sampling_hz", "n_samples", "strategy")
    rows = [
        (r["model"], f"{r['learning_rate']:g}", str(r["sampling_hz"]), number(r["n_samples"], 0), r["strategy"])
        for r in t[list(keys)].to_dict("records")
    ]
    header = ("Model", "Learning rate", "Hz", "Samples", "Strategy")
    return Sheet("s8", "Fine-tuning", t, header, tuple(rows), SOURCE)


def benchmark() -> Sheet:
    """S.9: fine-tuned models on ten tasks."""
    t = read("s9")
    scores = list(t.columns[5:])
    rows = [
        (
            r["model"],
            r["family"],
            r["paradigm"],
            si(r["n_params"]),
            si(r["n_pretraining"]),
            *(f"**{r[s]:.3f}**" if r[s] == t[s].max() else f"{r[s]:.3f}" for s in scores),
        )
        for r in t.to_dict("records")
    ]
    header = ("Model", "Family", "Paradigm", "N", "Pretraining", "PTB-XL", "EchoNext", "Sex", "ICU", "Mortality")
    note = "Macro AUROC, highest in bold; the mean counts PTB-XL once."
    return Sheet("s9", "Fine-tuned models", t, (*header, "CPSC2018", "Mean"), tuple(rows), SOURCE, note)


def ptbxl() -> Sheet:
    """S.10: fine-tuned models on the label sets of PTB-XL."""
    t = read("s10")
    scores = list(t.columns[2:])
    rows = [
        (r["model"], *(f"**{r[s]:.4f}**" if r[s] == t[s].max() else f"{r[s]:.4f}" for s in scores))
        for r in t.to_dict("records")
    ]
    header = ("Model", *(s.replace("-auroc", " AUROC").replace("-f1", " F1") for s in scores))
    return Sheet("s10", "Fine-tuned models on PTB-XL", t, header, tuple(rows), SOURCE, "Macro, highest in bold.")


def replaced() -> Sheet:
    """S.11: lost."""
    missing = ("Table S.11 has not survived in the text this was read from",)
    return Sheet("s11", "Data that pretraining replaces (Eq. S.9)", pd.DataFrame(), (), (), SOURCE, missing=missing)


def _percent(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.0%}"


def _text(value: object) -> str:
    return value if isinstance(value, str) else "–"
