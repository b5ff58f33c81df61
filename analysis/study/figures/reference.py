"""The paper's printed numbers as points and fits, so that figures which they can feed are drawn from them too.

Tables S.5 to S.7 and S.9 of "How Do Electrocardiogram Models Scale?" (arXiv 2605.17276v1, CC BY 4.0): losses by size
bin and by amount of data, loss-to-loss exponents, a benchmark. The sizes in a bin and the fractions themselves are not
printed: N is the geometric mean of the sizes of Table S.4 that fall into the bin, and D takes nominal fractions, so
positions along the axes are indicative, and so are exponents fitted to them.
"""

from functools import cache

import pandas as pd

from ecgscale.analysis.fitting.transfer import TRANSFER
from ecgscale.analysis.observations import COLUMNS
from ecgscale.analysis.study.constants import FRACTIONS, N_FULL
from ecgscale.analysis.study.published import by_size, losses_by_data, printed_transfer, refit
from ecgscale.analysis.table.query import COLUMNS as FITTED

NOMINAL = "Published losses (Tables S.5, S.6); N and D are nominal"
FIGURES = {  # those that the tables can feed, each with the mark on its face
    "landscape": "Published: Table S.9",
    "scaling": NOMINAL,
    "kappas": "Published: Table S.7",
    "overlay": NOMINAL,
    "winners": "Published: Tables S.5 and S.6",
    "exponents": NOMINAL,
}
REFITTED = ("scaling", "overlay", "exponents")  # those that show laws fitted to the printed losses
SWEEP = "published"
RECORDINGS = 2_090_262.0  # nine tenths of CODE's 2,322,513; Table S.6 stands at fractions of a round number beside it
ACROSS_DATA = {"resnet": 16.8e6, "transformer": 19.2e6}  # the model that Table S.6 follows over fractions


def published() -> pd.DataFrame:
    """Printed losses as observations (see ``analysis.observations``): one row a cell of Tables S.5 and S.6."""
    size, data = by_size(), losses_by_data()
    data = data.assign(N=_architecture(data).map(ACROSS_DATA), D=[FRACTIONS[b] * N_FULL for b in data["data_bin"]])
    points = pd.concat(
        [size.assign(run_id="Table S.5", D=RECORDINGS), data.assign(run_id="Table S.6")], ignore_index=True
    )
    points["architecture"] = _architecture(points)
    points = points.assign(sweep=SWEEP, corpus="code", domain="OOD", selected_by="test", label_set="")
    return points.reindex(columns=list(COLUMNS))


@cache
def table(refitted: bool = True) -> pd.DataFrame:
    """The exponents table of the printed numbers: kappas of Table S.7, and marginal laws refitted to S.5 and S.6."""
    fits = refit() if refitted else pd.DataFrame(columns=list(FITTED))
    across = _architecture(fits).map(lambda a: f"N = {ACROSS_DATA[a]:.4g}")
    fits["at"] = fits["at"].mask(fits["law"] == "data", across)
    rows = []
    for row in printed_transfer().to_dict("records"):
        at = "low" if row["kappa"] <= TRANSFER[0] else ""
        facts = {"law": "transfer_joint", "at": "", "configuration": row["configuration"], "target": row["target"]}
        facts |= {"r2": row["R2"], "n_points": 0, "note": "Table S.7", "objective": "log-ls"}
        values = {"E_id": float("nan"), "E_ood": float("nan"), "K": row["K"], "kappa": row["kappa"]}
        for name, value in values.items():
            hit = at if name == "kappa" else ""
            status = {"status": "bound" if hit else "ok", "at_bound": hit}
            rows.append(facts | {"coefficient": name, "value": value} | status)
    fits = pd.concat([fits, pd.DataFrame(rows)], ignore_index=True).reindex(columns=list(FITTED))
    fits["at_bound"], fits["note"] = fits["at_bound"].fillna(""), fits["note"].fillna("")
    return fits.assign(sweep=SWEEP, corpus="code", label_set="", domain="OOD", select="test")


def _architecture(frame: pd.DataFrame) -> pd.Series:
    return frame["configuration"].str.split("-").str[0]
