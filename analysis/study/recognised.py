"""Which model of the paper's benchmark (Table S.9) a run is, by what its description says of network and weights."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd


@dataclass(frozen=True)
class _Sign:
    """What a description says of a printed model: its kind, published weights or none, and fields (None: default)."""

    kind: str
    published: bool = False
    fields: Mapping[str, Any] = field(default_factory=dict)


_SIGNS: dict[str, tuple[_Sign, ...]] = {
    "XResNet1d101": (_Sign("xresnet"),),
    "ResNet (Wang)": (_Sign("basic-resnet"),),
    "InceptionTime": (_Sign("inceptiontime"),),
    "TimesNet": (_Sign("timesnet"),),
    "TCN": (_Sign("tcn"),),
    "MICN": (_Sign("micn"),),
    "SCINet": (_Sign("scinet"),),
    "ResNet (PCLR)": (_Sign("keras-resnet", True, {"pooling": "mean"}),),
    "ResNet (Ribeiro)": (_Sign("resnet", True), _Sign("keras-resnet", True, {"pooling": None})),
    "ResNet (Merl)": (_Sign("basic-resnet", True),),
    "ECGFounder": (_Sign("net1d", True),),
    "Transformer": (_Sign("sequence-transformer", fields={"token": None}),),
    "Autoformer": (_Sign("decomposition-transformer", fields={"mixing": None}),),
    "Informer": (_Sign("sparse-transformer", fields={"attention": None}),),
    "Reformer": (_Sign("sparse-transformer", fields={"attention": "lsh"}),),
    "FEDformer": (_Sign("decomposition-transformer", fields={"mixing": "fourier"}),),
    "Crossformer": (_Sign("crossformer"),),
    "PatchTST": (_Sign("sequence-transformer", fields={"token": "patch"}),),
    "iTransformer": (_Sign("sequence-transformer", fields={"token": "lead"}),),
    "ViT (Merl)": (_Sign("multilead-vit", True),),
    "HuBERT (Base)": (_Sign("wave", True, {"chained": True}),),
    "ECG-FM": (_Sign("wave", True, {"chained": None}),),
    "HeartLang": (_Sign("transformer", True),),
}
MODELS = tuple(_SIGNS)


def model_of(description: str) -> str:
    """The printed name of a supervised run's model, from the run's canonical JSON; "" of any other run.

    Sizes are not looked at: a smaller network of the same design has the same name.
    """
    said = json.loads(description) if description else {}
    network, objective = said.get("architecture"), said.get("objective")
    if not isinstance(network, dict) or not isinstance(objective, dict) or "initial" in said:
        return ""
    if objective.get("kind") != "supervised":
        return ""
    for name, signs in _SIGNS.items():
        for sign in signs:
            alike = all(network.get(key) == value for key, value in sign.fields.items())
            if (network.get("kind"), "weights" in said) == (sign.kind, sign.published) and alike:
                return name
    return ""


def models_of(runs: pd.DataFrame, described: str = "run") -> dict[str, str]:
    """Printed names by run id; ``described`` is the column that holds canonical JSON (of points: "settings")."""
    if described not in runs:
        return {}
    told = runs.drop_duplicates("run_id")
    found = {str(run_id): model_of(text) for run_id, text in zip(told["run_id"], told[described], strict=True)}
    return {run_id: name for run_id, name in found.items() if name}
