"""Tables and annotations of the datasets, damaged anywhere: an index that holds, or a sentence; never another error."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ecgscale import data
from ecgscale.data import preparation
from ecgscale.data.columns import BLANK, bare, meant
from ecgscale.data.corpus import MISSING
from tests import layouts

TABLES = {
    "code": "annotations.csv",
    "code15": "exams.csv",
    "ptbxl": "ptbxl_database.csv",
    "echonext": "EchoNext_metadata_100k.csv",
    "mimic": "records_w_diag_icd10.csv",
    "heedb": "Metadata/ECG_Interpretations.psv",
    "sph": "metadata.csv",
    "chapman": "Diagnostics.csv",
    "cinc2017": "REFERENCE-v3.csv",
}


@pytest.fixture(scope="module", params=TABLES)
def table(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path, Path]:
    """Name and raw folder of a dataset, and the whole copy of its table."""
    raw = tmp_path_factory.mktemp(request.param) / "raw"
    layouts.LAYOUTS[request.param](raw, n=8)
    whole = raw.with_name("whole")
    shutil.copy(raw / TABLES[request.param], whole)
    return request.param, raw, whole


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=15, deadline=None)
@given(
    st.floats(0, 1, exclude_max=True),
    st.integers(0, 30),
    st.text(alphabet="0123456789abcNI,;|.'[]{}-\n\"/ \x00é", max_size=12),
)
def test_any_damage_is_an_index_or_a_sentence(
    table: tuple[str, Path, Path], place: float, n_lost: int, new: str
) -> None:
    name, raw, whole = table
    text = whole.read_text()
    at = int(place * len(text))
    (raw / TABLES[name]).write_text(text[:at] + new + text[at + n_lost :])
    try:
        index = preparation.indexed(data.DATASETS[name], raw)
        said = ""
    except (ValueError, OSError) as error:
        said = str(error)
    if said:
        assert "\n" not in said
        assert len(said) < 500
        return
    assert set(np.unique(index.labels)) <= {0, 1, MISSING}
    assert index.split is None or set(np.unique(index.split)) <= {0, 1, 2, 3}
    for where in index.where:
        path = raw / where.partition("#")[0]
        assert path.resolve().is_relative_to(raw.resolve())


@pytest.fixture(scope="module")
def annotated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    raw = tmp_path_factory.mktemp("annotated") / "raw"
    layouts.mitbih(raw, n=1)
    return raw, (raw / "101.atr").read_bytes()


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=8),
    st.one_of(st.just(1.0), st.floats(0, 1)),
)
def test_damaged_annotations_are_rhythms_or_a_reason(
    annotated: tuple[Path, bytes], changes: list[tuple[float, int]], kept: float
) -> None:
    raw, whole = annotated
    content = bytearray(whole)
    for place, value in changes:
        content[int(place * len(content))] = value
    (raw / "101.atr").write_bytes(bytes(content[: round(kept * len(content))]))
    index = data.DATASETS["mitbih"].index(raw)
    assert set(np.unique(index.labels)) <= {0, 1, MISSING}
    assert (len(index.where), sum(index.refused.values())) in ((12, 0), (0, 1))
    assert all(reason.startswith("annotations ") for reason in index.refused)


@pytest.mark.parametrize(("whole", "damaged"), [(b"## time r", b"## time x"), (b"\x17\xfc## t", b"\x0a\xfc## t")])
def test_a_damaged_definition_does_not_keep_a_reader_for_ever(
    annotated: tuple[Path, bytes], whole: bytes, damaged: bytes
) -> None:
    raw, content = annotated
    assert whole in content
    (raw / "101.atr").write_bytes(content.replace(whole, damaged))
    index = data.DATASETS["mitbih"].index(raw)
    assert index.refused == {"annotations hold a definition that cannot be read": 1}


def test_a_table_without_a_column_is_named_with_what_it_lacks(tmp_path: Path) -> None:
    layouts.code15(tmp_path)
    path = tmp_path / "exams.csv"
    path.write_text(path.read_text().replace("patient_id", "person"))
    with pytest.raises(ValueError, match=r"CODE-15%: exams\.csv lacks 'patient_id'; it has exam_id"):
        preparation.indexed(data.DATASETS["code15"], tmp_path)


@settings(max_examples=200, deadline=None)
@given(
    st.one_of(st.text(max_size=6), st.integers(-3, 3).map(str), st.floats().map(str), st.sampled_from(sorted(BLANK)))
)
def test_a_cell_is_one_or_zero_where_that_is_said_and_else_missing_or_unknown(cell: str) -> None:
    said = meant(cell, {"yes": 1, "no": 0})
    if said == MISSING:
        assert bare(cell) in BLANK
    elif said is not None and bare(cell) not in ("yes", "no"):
        assert float(bare(cell).replace(",", ".")) == said
