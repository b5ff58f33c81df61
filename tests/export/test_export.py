"""A model taken elsewhere says of a recording what it said here, through whichever door the recording comes."""

import json
import re
import shutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import chdir
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import ecgscale
from ecgscale import data, trial
from ecgscale.attempt import Place
from ecgscale.data import corpus as corpora
from ecgscale.data import embedded, waveform
from ecgscale.data.batches import Batch, Store
from ecgscale.data.corpus import Slice
from ecgscale.export.embed import files_in, labels_table, of_corpus, of_files
from ecgscale.export.folder import export, load
from ecgscale.export.model import Model
from ecgscale.export.program import program
from ecgscale.models import Backbone, ResNet, TimesNet, Transformer
from ecgscale.models.features import Features
from ecgscale.objectives import CMSC, Supervised
from ecgscale.probing.probe import features
from ecgscale.probing.reprobe import backbone_at
from ecgscale.spec import Evaluation, Run, Schedule, Sweep
from ecgscale.spec.sweep import load as load_sweep
from ecgscale.training import kept_weights
from tests import layouts
from tests.faults import fill
from tests.shell import Shell
from tests.small import Own

RUN = Run(
    ResNet(3, 4),
    Supervised(),
    Slice("ptbxl", 1.0, "superdiagnostic"),
    Schedule(steps=4, batch_size=8, lr=1e-2),
    Evaluation(every=2, probe_epochs=2),
)
RUNS = (RUN, replace(RUN, architecture=Transformer(1, 8, 2, 16)), replace(RUN, objective=CMSC(), slice=Slice("ptbxl")))
SWEEP = Sweep("s", RUNS, (), keep="all")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A home with a PTB-XL of 30 recordings as its authors ship it, prepared, and three runs on it."""
    folder = tmp_path_factory.mktemp("export")
    layouts.ptbxl(folder / "raw", 30)
    data.prepare("ptbxl", folder / "raw", folder / "home", workers=1)
    made = Place(folder / "home", folder / "results")
    for run in RUNS:
        assert trial.trial(run, SWEEP, made) == "done"
    return made


def exported(run: Run, place: Place, folder: Path, step: int | None = None) -> Model:
    export(run, SWEEP, place.home, place.results, folder / "model", step)
    return load(folder / "model")


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.configuration)
def test_features_are_the_same_through_all_doors(run: Run, place: Place, tmp_path: Path) -> None:
    """The run's own (as probes see them), the corpus', the files' and one array's at a time."""
    model = exported(run, place, tmp_path, step=4)
    corpus = data.open_corpus("ptbxl", place.home)
    own = features(backbone_at(run, 4, place.home), Store(corpus, np.arange(len(corpus.split)))).numpy()
    assert own.shape == (len(corpus.split), model.backbone.width)
    assert own.std() > 0
    np.testing.assert_allclose(model.features_in(corpus), own, atol=1e-6)

    by_name = of_corpus(model, "ptbxl", place.home)
    np.testing.assert_allclose(by_name.filter(regex=r"^f\d+$"), own[by_name["row"]], atol=1e-6)

    files = [file for file in files_in(place.home.parent / "raw") if "records500" in str(file)]
    by_file = of_files(model, files)
    used = np.flatnonzero(corpus.split < 3)
    assert len(by_file) == len(files) >= len(used)
    order = [int(np.abs(own - row).sum(1).argmin()) for row in by_file.filter(regex=r"^f\d+$").to_numpy()]
    assert set(used) <= set(order)
    np.testing.assert_allclose(by_file.filter(regex=r"^f\d+$"), own[order], atol=1e-6)

    first = waveform.read(files[0])
    alone = model.features([first.signal], first.sampling_hz, first.leads)
    np.testing.assert_allclose(alone[0], own[order[0]], atol=1e-5)


def test_the_head_answers_with_the_names_of_its_labels(place: Place, tmp_path: Path) -> None:
    model = exported(RUN, place, tmp_path)
    corpus = data.open_corpus("ptbxl", place.home)
    assert model.labels == corpus.label_names("superdiagnostic")
    table = of_corpus(model, "ptbxl", place.home, labels_table(model))
    assert list(table) == ["row", "split", *model.labels]
    kept = kept_weights.load(RUN, place.home)
    found = model.features_in(corpus)[table["row"]]
    logits = torch.from_numpy(found) @ kept.head["weight"].T + kept.head["bias"]
    np.testing.assert_allclose(table[list(model.labels)], torch.sigmoid(logits), atol=1e-6)


@pytest.mark.parametrize("run", RUNS[1:2], ids=lambda run: run.configuration)
def test_a_program_answers_as_its_model_without_its_code(run: Run, place: Place, tmp_path: Path) -> None:
    export(run, SWEEP, place.home, place.results, tmp_path / "model", also="torch-export")
    model, corpus = load(tmp_path / "model"), data.open_corpus("ptbxl", place.home)
    store = Store(corpus, np.arange(5))
    program = torch.export.load(tmp_path / "model" / "model.pt2").module()
    features_, logits = program(*model.backbone.inputs(store.batch(np.arange(5))))
    own = model.features_in(corpus, np.arange(5))
    np.testing.assert_allclose(features_.detach(), own, atol=1e-6)
    np.testing.assert_allclose(torch.sigmoid(logits).detach(), model.answers(own), atol=1e-6)
    inputs = model.backbone.inputs(store.batch(np.arange(5)))
    said = json.loads((tmp_path / "model" / "config.json").read_text())["program"]
    assert [one["shape"] for one in said["inputs"]] == [["n", *tensor.shape[1:]] for tensor in inputs]
    assert [one["type"] for one in said["inputs"]] == [str(tensor.dtype).partition(".")[2] for tensor in inputs]
    assert [(one["name"], one["shape"]) for one in said["outputs"]] == [("features", ["n", 8]), ("logits", ["n", 5])]
    card = (tmp_path / "model" / "README.md").read_text()
    assert "| takes | words | [n, " in card
    assert "| gives | logits | [n, 5] | float32 |" in card
    assert f"features, logits = program({', '.join(one['name'] for one in said['inputs'])})" in card


def test_a_graph_that_torch_does_not_export_is_said_in_a_sentence(place: Place, tmp_path: Path) -> None:
    class Asking(nn.Module):
        def encode(self, signal: torch.Tensor) -> Features:
            scale = 1.0 if signal.mean().item() > 0 else 2.0  # what a graph cannot know
            return Features(signal.mean(-1) * scale, signal)

        def inputs(self, batch: Batch) -> tuple[torch.Tensor, ...]:
            return (batch.signal,)

    batch = Store(data.open_corpus("ptbxl", place.home), np.arange(5)).batch(np.arange(5))
    with pytest.raises(
        ValueError, match=r"torch cannot export this model's graph \(.+\); without --format its weights"
    ):
        program(cast(Backbone, Asking()), None, batch)
    timesnet = TimesNet(1, 2, 1, 1, 1, pooling="mean").build()  # whose operator no other program has
    with pytest.raises(ValueError, match=r"only ecgscale knows its operator ecgscale.folded_convolution"):
        program(timesnet, None, batch)
    with pytest.raises(ValueError, match="there is no format 'torch-exprt'; did you mean 'torch-export'"):
        export(RUN, SWEEP, place.home, place.results, tmp_path / "model", also="torch-exprt")


def test_a_model_without_labels_has_no_head_to_ask(place: Place, tmp_path: Path) -> None:
    model = exported(RUNS[2], place, tmp_path)
    assert model.head is None
    assert model.labels == ()
    with pytest.raises(ValueError, match="no head that names labels"):
        labels_table(model)


def test_kept_weights_open_in_plain_torch(place: Place) -> None:
    (path,) = (place.home / "kept" / RUN.run_id).glob("step-4.pt")
    content = torch.load(path, weights_only=True)
    assert content["step"] == 4
    backbone = RUN.architecture.build()
    backbone.load_state_dict(content["backbone"])
    assert set(content["head"]) == {"weight", "bias"}


def test_a_folder_says_all_in_numbers_and_nothing_of_this_machine(place: Place, tmp_path: Path) -> None:
    exported(RUN, place, tmp_path)
    folder = tmp_path / "model"
    assert sorted(file.name for file in folder.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    said = json.loads((folder / "config.json").read_text())
    manifest = corpora.manifest_of(place.home, "ptbxl")
    assert said["preprocessing"]["scale_mv"] == manifest.scale_mv
    assert said["preprocessing"]["sampling_hz"] == 100
    assert said["preprocessing"]["recipe"]["band_hz"] is None  # the study leaves PTB-XL unfiltered
    assert said["run"] == json.loads(RUN.description)
    assert said["n_params"] == sum(p.numel() for p in RUN.architecture.build().parameters())
    card = (folder / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: ecgscale\n")
    assert "| OOD |" not in card  # no task was asked
    assert "| ID | ptbxl | test | loss |" in card
    for text in (card, json.dumps(said)):
        assert str(place.home) not in text
        assert str(tmp_path) not in text


def test_shipped_corpora_have_a_preprocessing_too(home: Path) -> None:
    """LUDB's raw recordings, prepared as the shipped sample was, are near it: that was rounded to 5 microvolts."""
    from ecgscale.data.alike import Preprocessing, prepared, preprocessing_of
    from ecgscale.data.recording import LEADS, TWELVE_FROM_EIGHT, Recording

    sample = data.open_corpus("ptbxl-sample", home)
    how = preprocessing_of(sample)
    assert Preprocessing.of_said(json.loads(json.dumps(how.said()))) == how
    raw = embedded.decoded(embedded.arrays_of("ptbxl2550_100hz_8lead_delta5uV.npz"))[:20] * 0.005
    twelve = np.einsum("ld,ndt->nlt", TWELVE_FROM_EIGHT, raw).astype(np.float32)
    again, reasons = prepared([Recording(one, 100.0, LEADS) for one in twelve], how)
    assert not reasons
    inner = slice(200, 800)
    there, here = (c.signal[:20, :, inner] * c.manifest.mv_per_unit for c in (sample, again))
    assert np.sqrt(np.mean((there - here) ** 2)) < 0.02 * np.sqrt(np.mean(there**2))


def test_recordings_that_cannot_be_used_are_named_by_number(place: Place, tmp_path: Path) -> None:
    model = exported(RUN, place, tmp_path)
    signals = layouts.signals(3, 500).astype(np.float32)
    signals[1] = 0
    with pytest.raises(ValueError, match="recording 1 cannot be used: all leads are zero"):
        model.features(signals, 500)
    np.save(tmp_path / "three.npy", signals)
    said: list[str] = []
    table = of_files(model, [tmp_path / "three.npy"], sampling_hz=500, say=said.append)
    assert list(table["recording"]) == [0, 2]
    assert said == ["file 0, recording 1: left out, all leads are zero or missing"]
    with pytest.raises(ValueError, match=r"three\.npy: an array does not say its rate; give --sampling-hz"):
        of_files(model, [tmp_path / "three.npy"])
    with pytest.raises(ValueError, match=r"is not \[n, 2 leads, n_samples\] in millivolts"):
        of_files(model, [tmp_path / "three.npy"], sampling_hz=500, leads=("I", "II"))


def test_a_folder_that_is_not_what_was_written_is_refused(place: Place, tmp_path: Path) -> None:
    exported(RUN, place, tmp_path)
    folder = tmp_path / "model"
    with pytest.raises(FileNotFoundError, match=r"holds no exported model: it has no config\.json"):
        load(tmp_path)
    with pytest.raises(ValueError, match="the weights are of"):
        load(folder, architecture=ResNet(3, 8))
    tensors = load_file(folder / "model.safetensors")
    name = next(iter(tensors))
    save_file(tensors | {name: torch.zeros(1, 2, 3)}, folder / "model.safetensors")
    with pytest.raises(ValueError, match=r"model\.safetensors does not fit its config\.json"):
        load(folder)
    (folder / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"model\.safetensors cannot be read"):
        load(folder)
    said = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(said | {"architecture": {"kind": "resnt"}}))
    with pytest.raises(ValueError, match=r"no architecture 'resnt'; did you mean 'resnet'"):
        load(folder)


def test_code_that_changed_since_training_is_said(place: Place, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    exported(RUN, place, tmp_path)
    config = json.loads((folder / "config.json").read_text())
    assert config["own_code"] == {}
    with warnings.catch_warnings(action="error"):
        load(folder, architecture=Own)
    (folder / "config.json").write_text(json.dumps(config | {"own_code": {"Own": "of other code"}}))
    with pytest.warns(UserWarning, match="the code of Own has changed since the weights in model were trained"):
        load(folder, architecture=Own)


MINE = """
from dataclasses import dataclass

from ecgscale.data.corpus import Slice
from ecgscale.models import ResNet
from ecgscale.objectives import Supervised
from ecgscale.spec import Evaluation, Run, Schedule, Sweep


@dataclass(frozen=True)
class Mine(ResNet):
    kind = "mine"


HOW = Schedule(steps=1, batch_size=8, lr=1e-2), Evaluation(every=1, probe_epochs=1)
SWEEP = Sweep("mine", (Run(Mine(3, 4), Supervised(), Slice("ptbxl", 1.0, "form"), *HOW),), (), keep="best")
"""


@pytest.fixture
def mine(place: Place, tmp_path: Path) -> Iterator[Shell]:
    """A shell in a folder with a run of a model of one's own, done and exported."""
    shell = Shell(tmp_path, place.home)
    (tmp_path / "sweeps" / "mine.py").write_text(MINE)
    with chdir(tmp_path):
        sweep = load_sweep("mine")
        assert trial.trial(sweep.runs[0], sweep, Place(place.home, tmp_path / "results")) == "done"
    ended = shell.type("export", "mine", sweep.runs[0].run_id, "-o", "model")
    assert ended.returncode == 0, ended.stderr
    yield shell
    shutil.rmtree(place.home / "kept" / sweep.runs[0].run_id)


def test_a_folder_says_what_its_reader_needs_of_a_model_of_ones_own(mine: Shell) -> None:
    card = (mine.folder / "model" / "README.md").read_text()
    made = f"this was written by {ecgscale.__version__}, under torch {torch.__version__.partition('+')[0]}."
    assert f"Install ecgscale; {made}" in card
    assert "Its class `Mine` is no part of ecgscale and not in this folder: you need `mine.py`, with what" in card
    (line,) = re.findall(r"^model = .*$", card, flags=re.M)
    with chdir(mine.folder / "sweeps"):
        model = eval(line.partition(" = ")[2].replace("THIS FOLDER", "../model"), {"ecgscale": ecgscale})
    assert type(model.backbone).__name__ == "ResNetBackbone"
    typed = re.findall(r"^\$ ecgscale (.*)$", card, flags=re.M)
    assert [words.split()[0] for words in typed] == ["embed", "predict-labels"]
    for words in typed:
        known = words.replace("RECORDS", "ptbxl").replace("THIS_FOLDER", "model").replace("mine.py", "sweeps/mine.py")
        ended = mine.type(*known.split())
        assert ended.returncode == 0, ended.stderr
        assert "changed" not in ended.stderr


def test_changed_code_of_ones_own_is_said_by_every_verb_that_takes_models_elsewhere(mine: Shell) -> None:
    file = mine.folder / "sweeps" / "mine.py"
    file.write_text(MINE.replace('kind = "mine"', 'kind, other = "mine", 1'))
    run_id = json.loads((mine.folder / "model" / "config.json").read_text())["run_id"]
    asked = ("--weights", "model", "--sweep", "mine", "-o", "x.parquet")
    for words in (
        ("export", "mine", run_id, "-o", "again"),
        ("embed", "ptbxl", *asked),
        ("predict-labels", "ptbxl", *asked),
    ):
        ended = mine.type(*words)
        assert ended.returncode == 0, ended.stderr
        assert "the code of Mine has changed since" in ended.stderr, words
        assert "Warning" not in ended.stderr  # a sentence, and not Python's


@pytest.mark.slow
def test_on_a_full_disk_nothing_half_written_is_left(mine: Shell, disk_of: Callable[[str], Path]) -> None:
    """A folder, new or there before, and a table: all of it, or it is as it was, and a sentence says what to do."""
    disk = disk_of("2m")
    run_id = json.loads((mine.folder / "model" / "config.json").read_text())["run_id"]
    shutil.copytree(mine.folder / "model", disk / "before")
    (disk / "before" / "config.json").write_text("as it was")
    asked = ("--weights", "model", "--sweep", "mine", "-o")
    commands = {
        disk / "new": ("export", "mine", run_id, "-o", str(disk / "new")),
        disk / "before": ("export", "mine", run_id, "-o", str(disk / "before")),
        disk / "f.parquet": ("embed", "ptbxl", *asked, str(disk / "f.parquet")),
        disk / "l.parquet": ("predict-labels", "ptbxl", *asked, str(disk / "l.parquet")),
    }

    def there() -> dict[str, bytes]:
        return {
            str(p.relative_to(disk)): p.read_bytes() for p in disk.rglob("*") if p.is_file() and p.stem != "ballast"
        }

    for place, words in commands.items():
        before = there()
        for room in (0, 1):  # pages: for nothing, and for a part
            with pytest.raises(OSError, match="No space left"):
                fill(disk / "ballast")
            with (disk / "ballast").open("rb+") as ballast:
                ballast.truncate((disk / "ballast").stat().st_size - room * 4096)
            full = mine.type(*words)
            assert full.returncode == 1, words
            assert re.search(
                r"^ecgscale: the disk is full.*; make room, then the same command goes on$", full.stderr, re.M
            )
            assert there() == before
            assert place.exists() == (place.name == "before")
            (disk / "ballast").unlink()
        assert mine.type(*words).returncode == 0, words
        assert place.exists()
        assert not list(disk.rglob("*.partial"))


def test_the_verbs_as_they_are_typed(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shell = Shell(tmp_path, place.home)
    model = exported(RUN, place, tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "model").rename(tmp_path / "model")
    written = shell.type("embed", "ptbxl", "--weights", "model", "-o", "features.parquet")
    assert written.returncode == 0, written.stderr
    table = pd.read_parquet(tmp_path / "features.parquet")
    assert list(table)[:3] == ["row", "split", "f0"]
    assert len(table.columns) == 2 + model.backbone.width
    asked = shell.type("predict-labels", str(place.home.parent / "raw"), "--weights", "model", "-o", "labels.parquet")
    assert asked.returncode == 0, asked.stderr
    assert list(pd.read_parquet(tmp_path / "labels.parquet"))[2:] == list(model.labels)
    nothing = shell.type("embed", "ptbxk", "--weights", "model", "-o", "x.parquet")
    assert nothing.returncode == 2
    assert nothing.stderr == "ecgscale: there is no file or prepared corpus ptbxk\n"
    assert not (tmp_path / "x.parquet").exists()
