"""An architecture of one's own: a dataclass in a sweep file is planned, trained and probed like any other."""

from pathlib import Path

import pytest
import torch

from ecgscale import records
from ecgscale.attempt import Place
from ecgscale.pricing.plan import plan
from ecgscale.spec.sweep import load
from ecgscale.trial import trial
from tests import own_sweep


def written(folder: Path, text: str = own_sweep.IN_ONE) -> str:
    path = folder / "own.py"
    path.write_text(text)
    return str(path)


def test_it_is_priced_trained_and_probed(tmp_path: Path, home: Path) -> None:
    torch.set_num_threads(1)
    sweep = load(written(tmp_path))
    assert len({run.run_id for run in sweep.runs}) == 2
    assert sweep.runs[0].configuration == "plaincnn-sl"
    priced = plan(sweep, home, tmp_path)
    # 12 leads x 15 samples and a bias to each of 4 channels; what labels need is the head's and not counted
    assert priced["n_params"].to_list() == 2 * [4 * (12 * 15 + 1)]
    assert trial(sweep.runs[0], sweep, Place(home, tmp_path)) == "done"
    rows = records.read(records.path_of(tmp_path, "own", sweep.runs[0].run_id)).rows
    assert {"ID", "OOD"} <= set(rows["domain"])
    assert rows.loc[rows["metric"] == "loss", "value"].notna().all()


@pytest.mark.parametrize(
    ("was", "becomes", "sentence"),
    [
        (
            "PlainCNN(Architecture)",
            "PlainCNN",
            "PlainCNN says no input, sampling_hz, native_hz, amplitude",
        ),
        ("@dataclass(frozen=True)\nclass PlainCNN", "class PlainCNN", "takes no arguments"),
        ("    def build", "    def built", "abstract method '?build"),
        ('    kind: ClassVar[str] = "plaincnn"\n', "", "abstract method '?kind"),
    ],
)
def test_what_it_lacks_is_said(was: str, becomes: str, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=sentence):
        load(written(tmp_path, own_sweep.IN_ONE.replace(was, becomes)))


def test_a_size_that_identity_would_not_know_is_refused(tmp_path: Path) -> None:
    """Without @dataclass, every width would be one run."""
    kind = '    kind: ClassVar[str] = "plaincnn"\n'
    init = "\n    def __init__(self, width):\n        self.__dict__['width'] = width\n"
    undecorated = own_sweep.IN_ONE.replace("@dataclass(frozen=True)\nclass PlainCNN", "class PlainCNN").replace(
        kind, kind + init
    )
    with pytest.raises(ValueError, match=r"PlainCNN is no dataclass; write @dataclass\(frozen=True\)"):
        load(written(tmp_path, undecorated))
