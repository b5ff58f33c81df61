"""The paper's printed losses, refitted: what they suffice for, and what they do not."""

import pandas as pd
import pytest

from ecgscale.analysis.study.constants import TASKS
from ecgscale.analysis.study.published import REFIT, REFIT_COLUMNS, by_data, by_size, exponents, refit
from ecgscale.analysis.table.query import flagged
from ecgscale.spec.tasks import PAPER_TASKS


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return refit()


def test_the_eleven_tasks_are_those_that_can_be_probed() -> None:
    assert tuple(task.name for task in PAPER_TASKS) == TASKS


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


@pytest.mark.slow
def test_what_ships_of_the_refits_is_what_comes_out(table: pd.DataFrame) -> None:
    shipped = pd.read_csv(REFIT, keep_default_na=False, na_values=[""])
    again = table[table["coefficient"].isin(["E", "alpha", "beta"])][REFIT_COLUMNS].reset_index(drop=True)
    assert list(shipped["status"]) == list(again["status"])
    known = again["status"] == "ok"
    pd.testing.assert_series_equal(shipped.loc[known, "value"], again.loc[known, "value"], rtol=1e-4)


def test_printed_transfer_flags_its_bounds() -> None:
    kappa = exponents().query("coefficient == 'kappa'")
    assert len(kappa) == 44
    assert (kappa["at_bound"] == "low").sum() == 8
    assert (kappa[kappa["at_bound"] == "low"].groupby("configuration").size() == 2).all()
