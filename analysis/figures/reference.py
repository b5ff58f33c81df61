"""The paper's printed numbers as points, so that figures which they can feed are drawn from them too.

Tables S.5 and S.6 of "How Do Electrocardiogram Models Scale?" (arXiv 2605.17276v1, CC BY 4.0) give losses by size bin
and by amount of data. The sizes in a bin and the fractions themselves are not printed: N is the geometric mean of the
sizes of Table S.4 that fall into the bin, and D takes nominal fractions, so positions along the axes are indicative.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from analysis.observations import COLUMNS

FOLDER = Path(__file__).parent.parent / "reference"
FIGURES = ("overlay",)  # those that these tables can feed
MARK = "Published losses (Tables S.5, S.6); positions along N and D are nominal"
RECORDINGS = 2_090_262  # nine tenths of CODE's 2,322,513
FRACTIONS = (0.01, 0.02, 0.05, 0.1, 0.5, 1.0)
BINS = {  # parameters of the models of Table S.4 in each size bin
    "resnet": ((25.8e3, 94.2e3), (224e3, 436e3, 878e3), (3.47e6, 6.95e6), (16.8e6, 33.7e6), (101.7e6,)),
    "transformer": ((25.1e3, 71.7e3), (180e3, 602e3), (1.59e6, 2.52e6, 5.52e6), (11.6e6, 19.2e6), (50.8e6,)),
}
ACROSS_DATA = {"resnet": 16.8e6, "transformer": 19.2e6}  # the model that Table S.6 follows over fractions
TARGETS = {
    "CPSC2018": "cpsc2018",
    "CSN": "csn",
    "PTB-XL(diag.)": "ptbxl-diag",
    "PTB-XL(sub.)": "ptbxl-sub",
    "PTB-XL(sup.)": "ptbxl-sup",
    "PTB-XL(form)": "ptbxl-form",
    "PTB-XL(rhythm)": "ptbxl-rhythm",
    "Echonext": "echonext",
    "MIMIC-ICU": "mimic-icu",
    "MIMIC-Mort.": "mimic-mortality",
    "MIMIC-Sex": "mimic-sex",
}


def published() -> pd.DataFrame:
    """Printed losses as observations (see ``analysis.observations``): one row a cell of Tables S.5 and S.6."""
    by_size = pd.read_csv(FOLDER / "table_s5.csv")
    by_data = pd.read_csv(FOLDER / "table_s6.csv")
    sizes = zip(_architecture(by_size), by_size["param_bin"], strict=True)
    by_size["N"] = [float(np.exp(np.mean(np.log(BINS[architecture][b])))) for architecture, b in sizes]
    by_size["D"] = float(RECORDINGS)
    by_data["N"] = _architecture(by_data).map(ACROSS_DATA)
    by_data["D"] = by_data["data_bin"].map(lambda b: FRACTIONS[b] * RECORDINGS)
    points = pd.concat([by_size.assign(run_id="Table S.5"), by_data.assign(run_id="Table S.6")], ignore_index=True)
    points["target"] = points["target"].map(TARGETS)
    points["architecture"] = _architecture(points)
    points = points.assign(sweep="published", corpus="code", domain="OOD", selected_by="test")
    return points.reindex(columns=list(COLUMNS))


def _architecture(table: pd.DataFrame) -> pd.Series:
    return table["configuration"].str.split("-").str[0]
