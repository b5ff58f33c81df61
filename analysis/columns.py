"""Anybody's columns under the house's names: N, D, C, loss, and what was understood by them, in words.

Names are read case-blind and without spaces. What could be two columns is nobody's guess: whoever needs it is told.
A metric in [0, 1] (AUROC, accuracy) is a loss as 1 - metric, for laws fall to a floor.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pandas as pd

from ecgscale.analysis.fitting.identifiability import BadPoints
from ecgscale.phrases import did_you_mean, nearest

ALIASES: dict[str, tuple[str, ...]] = {
    "N": tuple(
        "n n_params params param parameters n_parameters num_params num_parameters nparams n_param model_size "
        "model_params model_parameters".split()
    ),
    "D": tuple(
        "d tokens n_tokens num_tokens train_tokens training_tokens total_tokens samples n_samples num_samples "
        "train_samples training_samples data data_size n_data dataset_size recordings n_recordings examples "
        "n_examples".split()
    ),
    "C": tuple("c flops flop n_flops compute train_flops training_flops total_flops".split()),
    "U": tuple("u unique n_unique unique_tokens unique_samples unique_data unique_recordings".split()),
    "epochs": tuple("epochs epoch n_epochs num_epochs passes".split()),
    "loss": tuple(
        "loss l val_loss valid_loss validation_loss test_loss eval_loss final_loss cross_entropy ce_loss nll".split()
    ),
    "loss_id": ("loss_id", "id_loss"),
    "loss_ood": ("loss_ood", "ood_loss"),
    "seed": ("seed", "seeds", "random_seed"),
    "weight": ("weight", "weights"),
}
KEPT = ("run_id", "E_id", "E_ood")  # read under these names alone
METRICS = tuple(
    "auroc auc roc_auc macro_auroc auprc average_precision accuracy acc balanced_accuracy top1 f1 f1_score macro_f1 "
    "sensitivity specificity precision recall".split()
)
NUMBERS = 0.5  # share of values that are numbers from which on a column of text is one of numbers


@dataclass(frozen=True)
class Understood:
    """A table under the house's names.

    ``names`` maps what its columns are called, before and after; ``facts`` says in words what a column was taken for;
    ``unclear`` are the columns that could each be it.
    """

    table: pd.DataFrame
    names: Mapping[str, str]
    facts: Mapping[str, str]
    unclear: Mapping[str, list[str]]

    def need(self, columns: Iterable[str]) -> None:
        """Raise BadPoints, in one sentence, for a column that is not there."""
        wanted = list(columns)
        for column in wanted:
            if column in self.table:
                continue
            both = self.unclear.get(column, [])
            if both:
                how = (
                    "name it with --loss-column" if column == "loss" else f"rename the one that is meant to '{column}'"
                )
                raise BadPoints(f"{', '.join(map(repr, both))} could each be the column '{column}'; {how}")
            metric = next((str(c) for c in self.table if plain(str(c)) in METRICS), None)
            if column == "loss" and metric:
                raise BadPoints(
                    f"the points have no column 'loss', but '{metric}': fit 1 - {metric} with --metric {metric}"
                )
            near = self._like(column)
            hint = f" (did you mean to rename '{near}'?)" if near else ""
            others = "" if near else f"; there are {', '.join(map(str, self.table.columns[:12]))}"
            raise BadPoints(f"the points have no column '{column}'{hint}; columns needed: {', '.join(wanted)}{others}")

    def _like(self, column: str) -> str | None:
        """The column that is most like a name, or like one of the names that it is known by."""
        others = {plain(str(c)): str(c) for c in self.table if str(c) not in ALIASES}
        close = [nearest(alias, others) for alias in ALIASES.get(column, (column,)) if len(alias) > 1]
        found = [c for c in close if c is not None]
        return others[max(found, key=found.count)] if found else nearest(column, self.table.columns)


def plain(name: str) -> str:
    """A name in small letters, with _ for all that is no letter or digit."""
    return re.sub(r"[^0-9a-z]+", "_", name.strip().lower()).strip("_")


def understood(table: pd.DataFrame, loss_column: str | None = None, metric: str | None = None) -> Understood:
    """A table under the house's names; ``loss_column`` is the loss, or 1 - ``metric`` is.

    Raises BadPoints for a name that is no column, and for a metric outside [0, 1].
    """
    table = table.rename(columns=lambda c: str(c).strip())
    facts: dict[str, str] = {}
    names = {str(c): str(c) for c in table}
    if loss_column and not metric and plain(loss_column) in METRICS:
        metric = loss_column
    if metric:
        column = _column(table, metric)
        table = _complement(table, column)
        facts["loss"] = f"loss is 1 - {column}"
    elif loss_column:
        column = _column(table, loss_column)
        table = table.drop(columns="loss").copy() if "loss" in table and column != "loss" else table.copy()
        table = table.rename(columns={column: "loss"})
        names[column] = "loss"
        facts["loss"] = f"loss is '{column}'"
    unclear: dict[str, list[str]] = {}
    for name, aliases in ALIASES.items():
        if name in table:
            continue
        meant = [c for c in map(str, table) if plain(c) in aliases and c not in ALIASES and _of_numbers(table[c])]
        meant = [c for c in meant if plain(c) == name.lower()] or meant
        if len(meant) == 1:
            table = table.rename(columns={meant[0]: name})
            names[meant[0]] = name
            facts[name] = f"{name} is '{meant[0]}'"
        elif meant:
            unclear[name] = meant
    table, more = _repeated(table)
    names |= {str(c): str(c) for c in table}
    return Understood(table, {k: v for k, v in names.items() if v in table}, facts | more, unclear)


def _column(table: pd.DataFrame, name: str) -> str:
    """The column of a table that a name means; raises BadPoints with the nearest one."""
    meant = [str(c) for c in table if c == name] or [str(c) for c in table if plain(str(c)) == plain(name)]
    if len(meant) != 1:
        raise BadPoints(f"the points have no column '{name}'{did_you_mean(name, table.columns)}")
    return meant[0]


def _of_numbers(column: pd.Series) -> bool:
    return len(column) > 0 and float(pd.to_numeric(column, errors="coerce").notna().mean()) >= NUMBERS


def _complement(table: pd.DataFrame, column: str) -> pd.DataFrame:
    """The table with the loss 1 - metric."""
    values = pd.to_numeric(table[column], errors="coerce").astype(float)
    outside = (values < 0) | (values > 1)
    if outside.any():
        row = int(outside.to_numpy().argmax())
        value = float(values.iloc[row])
        percent = ", or of percent divided by 100" if 1 < value <= 100 else ""
        raise BadPoints(f"'{column}' is {value:g} in row {row + 1} of the points; a metric lies in [0, 1]{percent}")
    return table.assign(loss=1 - values)


def _repeated(table: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, str]]:
    """Unique data, all data seen and epochs: any two of them make the third."""
    there = {c for c in ("U", "D", "epochs") if c in table}
    numbers = {c: pd.to_numeric(table[c], errors="coerce") for c in there}
    if there == {"U", "D"}:
        return table.assign(epochs=numbers["D"] / numbers["U"]), {"epochs": "epochs is D / U"}
    if there == {"U", "epochs"}:
        return table.assign(D=numbers["U"] * numbers["epochs"]), {"D": "D is U epochs, all data seen"}
    if there == {"D", "epochs"}:
        return table.assign(U=numbers["D"]), {"U": "U is D: taken as unique data, seen epochs times"}
    return table, {}
