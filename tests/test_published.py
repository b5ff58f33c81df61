"""The paper's printed losses, refitted: what they suffice for, and what they do not."""

import pandas as pd
import pytest

from analysis.published import by_data, by_size, refit
from analysis.query import flagged


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return refit()


def test_the_tables_are_whole() -> None:
    assert len(by_size()) == 220
    assert len(by_data()) == 264 - 12
    assert by_size()["N"].between(25e3, 110e6).all()


@pytest.mark.slow
def test_self_supervision_uses_data_better_and_residual_networks_parameters(table: pd.DataFrame) -> None:
    """Ratios of mean exponents as the sheet has them: beta SSL/SL about 8-10 (T) and 3-6 (R); alpha R/T above 1."""
    beta = table[table["coefficient"] == "beta"].groupby("configuration")["value"].mean()
    assert 6 < beta["transformer-ssl"] / beta["transformer-sl"] < 12
    assert 3 < beta["resnet-ssl"] / beta["resnet-sl"] < 6
    alpha = table[table["coefficient"] == "alpha"].groupby("configuration")["value"].median()
    assert alpha["resnet-sl"] > alpha["transformer-sl"]
    assert alpha["resnet-ssl"] > alpha["transformer-ssl"]


@pytest.mark.slow
def test_few_bins_are_flagged_not_believed(table: pd.DataFrame) -> None:
    fits = table[table["coefficient"].isin(["alpha", "beta"])]
    assert len(fits) == 44 + 42
    assert flagged(table).groupby([table["configuration"], table["target"], table["law"]]).any().mean() > 0.2
