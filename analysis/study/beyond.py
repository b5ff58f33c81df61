"""How far the study's scale lies beyond the runs that were measured here."""

import pandas as pd

from ecgscale.analysis.study.constants import LARGEST, N_FULL


def beyond(best: pd.DataFrame) -> tuple[float, float] | None:
    """How many times the recordings and parameters of these observations the study's largest runs have.

    None if neither is twice as many, and for simulated recordings, which say nothing of patients whatever their number.
    """
    if best.empty or best["corpus"].astype(str).str.startswith("simulated").all():
        return None
    recordings, parameters = N_FULL / float(best["D"].max()), LARGEST / float(best["N"].max())
    return (recordings, parameters) if max(recordings, parameters) > 2 else None
