"""An exported model as a folder: weights (safetensors), what it is (config.json), and a model card (README.md)."""

import json
import warnings
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as tensors_of
from safetensors.torch import save as bytes_of
from torch import nn

from ecgscale import beside, data, provenance, records
from ecgscale.data.alike import Preprocessing, preprocessing_of
from ecgscale.data.batches import Store
from ecgscale.data.label_sets import Number
from ecgscale.definitions import code_facts
from ecgscale.export.card import card
from ecgscale.export.model import Model
from ecgscale.export.program import Program, program
from ecgscale.models import ARCHITECTURES, Architecture
from ecgscale.phrases import did_you_mean
from ecgscale.spec.run import Run, to_json
from ecgscale.spec.sweep import Sweep
from ecgscale.training import kept_weights

CONFIG, WEIGHTS, CARD, PROGRAM = "config.json", "model.safetensors", "README.md", "model.pt2"
FORMATS = ("safetensors", "torch-export")
_FORM = 1
_TRIED = 8  # recordings on which a program is compared with its model


def export(
    run: Run, sweep: Sweep, home: Path, results: Path, folder: Path, step: int | None = None, also: str = FORMATS[0]
) -> dict[str, Any]:
    """Write a finished run's weights, the best or those of a step, into a new folder; returns its config.

    ``also`` "torch-export": beside the weights a program that needs no code of the model (``program``). Raises
    kept_weights.NotKept if they are not there, FileExistsError for a folder with other things in it, and ValueError for
    a model that is no such program.
    """
    if also not in FORMATS:
        raise ValueError(f"there is no format {also!r}{did_you_mean(also, FORMATS)}")
    kept = kept_weights.load(run, home, step)
    if folder.exists() and any(file.name not in (CONFIG, WEIGHTS, CARD, PROGRAM) for file in folder.iterdir()):
        raise FileExistsError(f"the folder {folder.name} holds other things; name a new one")
    corpus = data.open_corpus(run.slice.corpus, home)
    file = records.read(records.path_of(results, sweep.name, run.run_id))
    rows = file.rows
    known = corpus.manifest.labels_of(run.slice.label_set) if kept.head else ()
    labels = [label.name for label in known]
    numbers = {label.name: asdict(label.number) for label in known if label.number}
    tensors = {f"{part}.{name}": tensor.contiguous() for part, name, tensor in _parts(kept)}
    config = {
        "form": _FORM,
        "run_id": run.run_id,
        "configuration": run.configuration,
        "step": kept.step,
        "architecture": to_json(run.architecture),
        "own_code": json.loads(file.facts.get("own_code") or "{}"),
        "n_params": int(rows["n_params"].iloc[0]),
        "labels": labels,
        **({"numbers": numbers} if numbers else {}),
        "label_set": run.slice.label_set if kept.head else "",
        "preprocessing": preprocessing_of(corpus).said(),
        "run": json.loads(run.description),
        "corpora": {name: str(data.card(name, home).get("license", "")) for name in run.slice.corpora},
        "id_val_loss": kept.loss,
        "weights_sha256": kept.digest,
        "versions": json.loads(provenance.facts("cpu")["versions"]),
    }
    if code_facts([run.architecture]):
        config["class"] = _origin(run, sweep.name)
    files = {folder / WEIGHTS: bytes_of(tensors, {"format": "pt"})}
    if also == "torch-export":
        made = _program(run, kept, len(labels), corpus)
        config["program"] = {"inputs": made.inputs, "outputs": made.outputs}
        files[folder / PROGRAM] = made.code
    files[folder / CARD] = card(run, config, rows[rows["step"] == kept.step]).encode()
    _write(folder, files | {folder / CONFIG: json.dumps(config, indent=1).encode()})
    return config


def _write(folder: Path, files: Mapping[Path, bytes]) -> None:
    """Write all files of a model, the config last, or leave the folder as it was. Raises OSError on a full disk."""
    is_new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        records.write_together(files)
    except OSError:
        if is_new:
            folder.rmdir()
        raise
    if folder / PROGRAM not in files:
        (folder / PROGRAM).unlink(missing_ok=True)  # of an earlier export


def _origin(run: Run, sweep: str) -> dict[str, str]:
    """Whence the class of a model of one's own comes: its name, its module and file, and the sweep or package of it."""
    cls = type(run.architecture)
    source = beside.source(cls.__module__)
    is_packaged = run.architecture.kind in ARCHITECTURES
    return {
        "name": cls.__qualname__,
        "module": cls.__module__,
        "file": Path(source.file).name if source else "",
        "sweep": "" if is_packaged else sweep,
        "package": cls.__module__.partition(".")[0] if is_packaged else "",
    }


def _program(run: Run, kept: kept_weights.Kept, n_labels: int, corpus: data.Corpus) -> Program:
    backbone = run.architecture.build()
    backbone.load_state_dict(kept.backbone)
    head = nn.Linear(backbone.width, n_labels) if n_labels else None
    if head is not None:
        head.load_state_dict(kept.head)
    store = Store(corpus, corpus.rows("train")[:_TRIED], any_leads=backbone.any_leads)
    return program(backbone, head, store.batch(np.arange(len(store))))


def load(
    folder: Path | str, architecture: Architecture | type[Architecture] | Sweep | None = None, device: str = "cpu"
) -> Model:
    """An exported model. ``architecture``: of a model that is not ecgscale's, a sweep that has its class, or the class,
    or its description.

    Warns where the code of a class of one's own is not what the weights were trained with. Raises FileNotFoundError or
    ValueError, in one sentence that names the file.
    """
    folder = Path(folder)
    if not (folder / CONFIG).is_file():
        raise FileNotFoundError(f"the folder {folder.name} holds no exported model: it has no {CONFIG}")
    try:
        said = json.loads((folder / CONFIG).read_bytes())
        preprocessing = Preprocessing.of_said(said["preprocessing"])
        if isinstance(architecture, Sweep):
            architecture = _class_in(architecture, str(said["architecture"]["kind"]))
        described = (
            architecture
            if isinstance(architecture, Architecture)
            else _architecture(said["architecture"], architecture)
        )
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{folder.name}/{CONFIG}: {error}") from None
    if to_json(described) != said["architecture"]:
        raise ValueError(f"{folder.name}: the weights are of {said['architecture']}, not of {to_json(described)}")
    trained = said.get("own_code", {})
    for name, now in json.loads(code_facts([described]).get("own_code", "{}")).items():
        if trained.get(name, now) != now:
            warnings.warn(
                f"the code of {name} has changed since the weights in {folder.name} were trained: what they answer is "
                "another model's",
                stacklevel=2,
            )
    try:
        tensors = tensors_of((folder / WEIGHTS).read_bytes())
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{folder.name}/{WEIGHTS} cannot be read: {error}") from None
    backbone = described.build()
    _fill(backbone, _under("backbone", tensors), folder)
    head = None
    if labels := tuple(said["labels"]):
        head = nn.Linear(backbone.width, len(labels))
        _fill(head, _under("head", tensors), folder)
    numbers = {name: Number(**one) for name, one in said.get("numbers", {}).items()}
    return Model(backbone.eval().to(device), head, labels, preprocessing, said, numbers)


def _class_in(sweep: Sweep, kind: str) -> type[Architecture] | None:
    """The class that a sweep has for a kind of architecture; None if it has it from where all do."""
    found = {run.architecture.kind: type(run.architecture) for run in sweep.runs}
    if kind not in found and kind not in ARCHITECTURES:
        raise ValueError(f"sweep {sweep.name} has no architecture {kind!r}{did_you_mean(kind, found)}")
    return found.get(kind)


def _parts(kept: kept_weights.Kept) -> list[tuple[str, str, torch.Tensor]]:
    parts = {"backbone": kept.backbone, "head": kept.head}
    return [(part, name, tensor) for part, state in parts.items() for name, tensor in state.items()]


def _under(part: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.removeprefix(f"{part}."): t for name, t in tensors.items() if name.startswith(f"{part}.")}


def _fill(module: nn.Module, state: Mapping[str, torch.Tensor], folder: Path) -> None:
    try:
        module.load_state_dict(dict(state))
    except RuntimeError as error:
        what = " ".join(str(error).split())[:200]
        raise ValueError(f"{folder.name}/{WEIGHTS} does not fit its {CONFIG}: {what}") from None


def _architecture(said: Mapping[str, Any], cls: type[Architecture] | None = None) -> Architecture:
    """An architecture from its description, of a class of one's own or a known one.

    Raises ValueError for a kind that is not there.
    """
    kind = str(said["kind"])
    if cls is None and kind not in ARCHITECTURES:
        hint = did_you_mean(kind, ARCHITECTURES)
        raise ValueError(
            f"no architecture {kind!r}{hint}; a model of your own is given: --sweep SWEEP, the one that trained "
            "it, or load(folder, architecture=...)"
        )
    return (cls or ARCHITECTURES[kind])(
        **{name: _tuples(v) for name, v in said.items() if name not in ("kind", "revision")}
    )


def _tuples(value: Any) -> Any:
    return tuple(_tuples(part) for part in value) if isinstance(value, list) else value
