"""The paper's benchmark as a sweep: models are known by their descriptions, and stand beside print, name by name."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ecgscale import records
from ecgscale.analysis.observations import trajectories
from ecgscale.analysis.study import claims
from ecgscale.analysis.study.compared import TASKS_OF
from ecgscale.analysis.study.figures import draw
from ecgscale.analysis.study.published import benchmark as printed
from ecgscale.analysis.study.recognised import MODELS, model_of
from ecgscale.analysis.study.tables import Material, Sheet, make
from ecgscale.models import MultileadViT, Net1D
from ecgscale.models.families import FAMILIES
from ecgscale.sweeps import benchmark
from ecgscale.training import weights
from tests.ecgfounder import published
from tests.originals import said
from tests.planted import NO_TABLE
from tests.runs import RESNET_SL, RESNET_SSL
from tests.shell import Shell

LABEL_SETS = {"echonext": "shd11", "cpsc2018": "cpsc9"}
INCEPTIONTIME = {"kind": "inceptiontime"}


def test_every_model_of_the_sweep_is_known_by_its_description_and_no_other_run_is() -> None:
    task = benchmark.TASKS[0]
    runs = {name: benchmark.from_scratch(name, task) for name in benchmark.FROM_SCRATCH}
    runs |= {name: benchmark.fine_tuned(name, task) for name in benchmark.PRETRAINED}
    assert {name: model_of(run.description) for name, run in runs.items()} == {name: name for name in runs}
    assert set(MODELS) == set(runs) == {*printed()["model"], "Transformer"}
    assert len(benchmark.SWEEP.runs) == len(runs) * len(benchmark.TASKS) == 230
    assert model_of(RESNET_SL.description) == model_of(RESNET_SSL.description) == model_of("") == ""


STORED = {
    "ECGFounder": "ecgfounder_12lead",
    "HeartLang": "heartlang_base",
    "Ribeiro's ResNet (PyTorch)": "ribeiro_pytorch",
    "MERL ResNet18": "merl_resnet18",
    "MERL ViT-tiny": "merl_vit_tiny",
    "ECG-FM": "ecg_fm",
    "HuBERT-ECG": "hubert_ecg_base",
}
OF_PCLR = {"": 64, "_2": 128, "_5": 196, "_8": 256, "_11": 320}  # channels of its wide convolutions


@pytest.mark.parametrize("name", benchmark.PRETRAINED)
def test_a_published_file_is_found_by_the_runs_that_want_it(name: str, tmp_path: Path) -> None:
    """What the importer makes of the original's tensors is what the sweep asks for, at whatever rate of its corpora."""
    architecture, family, _ = benchmark.PRETRAINED[name]
    shapes = {f"conv1d{k}.weight": (n, 12, 16) for k, n in OF_PCLR.items()}
    shapes = {key: tuple(shape) for key, shape, _ in said(STORED[family])["keys"]} if family in STORED else shapes
    described = next(one for one in FAMILIES if one.name == family).describe(
        {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}
    )
    assert weights.of_family(family, architecture, tmp_path) == family  # nothing is imported yet
    weights.tell("ab" * 32, family, described, tmp_path)
    assert weights.of_family(family, architecture, tmp_path) == "ab" * 32
    weights.tell("cd" * 32, family, described, tmp_path)
    with pytest.raises(ValueError, match=r"2 files of .* are imported here \(abababababab, cdcdcdcdcdcd\)"):
        weights.of_family(family, architecture, tmp_path)
    with pytest.raises(ValueError, match="there is no published model 'ECGFonder'; did you mean 'ECGFounder'"):
        weights.of_family("ECGFonder", architecture, tmp_path)


def measured(results: Path, network: Mapping[str, object], tasks: dict[str, float], weights: str = "") -> None:
    """Finished runs of a network, one a task, with these AUROCs on the test split."""
    for task, auroc in tasks.items():
        corpus, _, label_set = task.partition("-")
        run = {"architecture": network, "objective": {"kind": "supervised"}, "slice": {"corpus": corpus, "of": task}}
        description = records.canonical(run | ({"weights": weights} if weights else {}))
        run_id = records.run_id_of(description)
        kind = f"{network['kind']}-sl{'-tuned' if weights else ''}"
        row = dict.fromkeys(records.SCHEMA.names) | {"sweep": "bench", "run_id": run_id, "configuration": kind}
        row |= {"architecture": network["kind"], "objective": "supervised", "paradigm": "sl", "corpus": corpus}
        row |= {"label_set": label_set or LABEL_SETS.get(corpus, ""), "target": corpus, "domain": "ID", "initial": ""}
        row |= {"seed": 0, "n_params": 20_000, "macs_per_sample": 10, "n_samples": 50, "batch_size": 8, "step": 10}
        scores = (("val", "loss", 0.5), ("test", "loss", 0.5), ("test", "auroc", auroc))
        rows = [row | {"flops": 1.0, "split": s, "metric": m, "value": v} for s, m, v in scores]
        records.write(records.path_of(results, "bench", run_id), rows, description, {"status": "done"})


def table(results: Path) -> Sheet:
    loaded = records.load(results)
    return make("S.9", Material(claims.in_results(results), loaded.runs, loaded.rows))


def test_a_model_that_was_trained_here_stands_below_its_printed_line_and_on_the_landscape(tmp_path: Path) -> None:
    theirs: dict[Any, Any] = printed().set_index("model").loc["InceptionTime"].to_dict()
    everywhere = {task: float(theirs[column]) - 0.02 for column, tasks in TASKS_OF.items() for task in tasks}
    measured(tmp_path, INCEPTIONTIME, everywhere)
    measured(tmp_path, {"kind": "wave"}, {"mimic-sex": 0.951, "mimic-icu": 0.779}, weights="ab")
    sheet = table(tmp_path)
    lines = [dict(zip(sheet.header, row, strict=True)) for row in sheet.rows]
    assert [(line["Model"], line[""]) for line in lines] == [
        ("InceptionTime", "printed"),
        ("", "here"),
        ("ECG-FM", "printed"),
        ("", "here"),
    ]
    assert (lines[0]["Mean"], lines[1]["Mean"], lines[1]["Difference"]) == ("0.812", "0.792", "−0.020")
    assert (lines[3]["Sex"], lines[3]["PTB-XL"], lines[3]["Mean"], lines[3]["Difference"]) == (
        "0.951",
        "–",
        "–",
        "0.000",
    )
    assert any("1 of 2 models were not measured on all columns" in words for words in sheet.missing)
    assert "XResNet1d101" in sheet.caption
    assert "12 runs of sweep bench" in sheet.caption
    assert make("s8", Material(claims.in_results(tmp_path), *_loaded(tmp_path))).rows[0][:3] == (
        "ECG-FM",
        "20K",
        "pretrained",
    )
    (page,) = draw("landscape", trajectories(tmp_path), NO_TABLE)
    shown = page.data().query("kind == 'run'").set_index("series")
    assert (shown.at["InceptionTime", "x"], shown.at["ECG-FM", "x"]) == (513_000, 20_000)
    assert shown["y"].to_dict() == pytest.approx({"InceptionTime": theirs["mean"] - 0.02, "ECG-FM": 0.865}, abs=1e-3)
    assert np.isfinite(shown["y"]).all()


def _loaded(results: Path):  # type: ignore[no-untyped-def]
    loaded = records.load(results)
    return loaded.runs, loaded.rows


SLICE = """
from ecgscale.data.corpus import Slice
from ecgscale.models import InceptionTime, MultileadViT, Net1D, SequenceTransformer, TCN
from ecgscale.objectives import Supervised
from ecgscale.spec import Evaluation, Run, Schedule, Sweep
from ecgscale.training.weights import of_family

NETWORKS = (
    (InceptionTime(1, 2, 8, hidden=4), ""),
    (TCN((4,), pooling="mean"), ""),
    (SequenceTransformer(1, 8, 2, 16, token="lead"), ""),
    (Net1D((16, 16), (1, 1), stem=16), "ECGFounder"),
    (MultileadViT(1, 64, 1, ffn=64), "MERL ViT-tiny"),
)
SWEEP = Sweep(
    "mine",
    tuple(
        Run(network, Supervised(), Slice(corpus, 1.0, labels), Schedule(steps=3, batch_size=8, lr=1e-3),
            Evaluation(every=3), weights=of_family(family, network) if family else "")
        for network, family in NETWORKS
        for corpus, labels in (("ludb-sample", "rhythm"), ("ptbxl-sample", "sex"))
    ),
    tasks=(),
    label_sets=("rhythm", "sex"),
)
"""
THEIRS = {  # what MERL's authors call the parts of a layer
    "norm1": "attn.norm",
    "qkv": "attn.fn.to_qkv",
    "project": "attn.fn.to_out.0",
    "norm2": "ff.norm",
    "expand": "ff.fn.net.0",
    "contract": "ff.fn.net.3",
}


def published_vit(description: MultileadViT) -> dict[str, torch.Tensor]:
    """A checkpoint as MERL's authors write it, of random weights."""
    found = {}
    for name, tensor in description.build().state_dict().items():
        parts = name.split(".")
        if parts[0] == "layers":
            name = f"block{parts[1]}.{THEIRS[parts[2]]}.{parts[3]}"
        found[{"embed.weight": "to_patch_embedding.weight", "position": "pos_embedding"}.get(name, name)] = tensor
    return found


@pytest.mark.slow
def test_a_slice_of_it_runs_from_files_to_table_and_figure(shell: Shell) -> None:
    (shell.folder / "sweeps" / "mine.py").write_text(SLICE)
    refused = shell.type("launch", "mine")
    assert refused.returncode == 3
    assert "published weights of ECGFounder are not here; run: ecgscale weights import FILE, with" in refused.stderr
    assert "published weights of MERL ViT-tiny are not here" in shell.type("plan", "mine").stderr
    torch.manual_seed(0)
    torch.save({"state_dict": published(Net1D((16, 16), (1, 1), stem=16))}, shell.folder / "founder.pth")
    torch.save(published_vit(MultileadViT(1, 64, 1, ffn=64)), shell.folder / "vit_encoder.pth")
    for file in ("founder.pth", "vit_encoder.pth"):
        assert shell.type("weights", "import", file).returncode == 0
    launched = shell.run("launch", "mine", "--workers", "1")
    assert launched.returncode == 0, launched.stderr
    assert shell.type("tables", "S.9").returncode == 0
    lines = (shell.folder / "results" / "tables" / "table_s9.md").read_text().splitlines()
    names = [line.split("|")[1].strip() for line in lines[4:]]
    assert [name for name in names if name] == ["InceptionTime", "TCN", "ECGFounder", "iTransformer", "ViT (Merl)"]
    assert "ludb-sample-rhythm" in lines[2]
    drawn = shell.type("figures", "landscape")
    assert drawn.returncode == 0, drawn.stderr
    shown = (shell.folder / "results" / "figures" / "landscape.csv").read_text()
    assert shown.count("2 tasks of this sweep") == 5
