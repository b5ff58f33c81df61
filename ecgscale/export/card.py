"""The model card: what a model is, how recordings are prepared for it, what it was measured on, whose data it saw.

The form is that of the Hugging Face Hub: a YAML header, then Markdown.
"""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from ecgscale.data.filters import Recipe, recipe_of
from ecgscale.phrases import si
from ecgscale.spec.run import Run

_SEEN = ("loss", "auroc", "f1")  # metrics that a card shows


def card(run: Run, config: Mapping[str, Any], rows: pd.DataFrame) -> str:
    """A model card of a run at one step; ``rows`` are its measurements there."""
    how, labels = config["preprocessing"], config["labels"]
    share = f"{run.slice.fraction:.3%}".replace(".000%", "%") if run.slice.fraction < 1 else "all"
    slice_ = f"{share} of the training patients of {run.slice.name}"
    told = f"{how['scale_mv']:g}"
    lines = [
        "---",
        "library_name: ecgscale",
        "tags: [ecg, electrocardiogram, biosignals, scaling-laws]",
        "pipeline_tag: feature-extraction",
        f"datasets: [{', '.join(run.slice.corpora)}]",
        "---",
        "",
        f"# {run.configuration} {run.architecture.size}",
        "",
        f"A {run.architecture.kind} of {si(config['n_params'])} parameters, trained by ecgscale under the objective "
        f"{run.objective.kind} on {slice_}; step {config['step']} of {run.schedule.steps}, "
        f"batches of {run.schedule.batch_size}, seed {run.seed}. Run {config['run_id']}.",
        "",
        "## Use",
        "",
        "```python",
        "import ecgscale",
        "",
        'model = ecgscale.load("THIS FOLDER")',
        "model.features(signals, sampling_hz=500)       # [n, width]; signals in millivolts, [n, 12, n_samples]",
        *(
            ["model.probabilities(signals, sampling_hz=500)  # [n, n_labels], in the order of model.labels"]
            * bool(labels)
        ),
        "```",
        "",
        "In a shell: `ecgscale embed RECORDS --weights THIS_FOLDER -o features.parquet`"
        + (", `ecgscale predict-labels` likewise." if labels else "."),
        "",
        "A program beside the weights (`model.pt2`, where there is one) runs by `torch.export.load` alone and takes "
        "what the model's `inputs` makes of recordings prepared as below, not millivolts.",
        "",
        "## What it reads",
        "",
        "| | |",
        "|---|---|",
        f"| leads | {', '.join(how['leads'])} |",
        f"| unit | mV, divided by {told}: one standard deviation of the training signals |",
        f"| filters | {_filters(how['recipe'])} |",
        f"| rate | {how['sampling_hz']} Hz |",
        f"| length | {how['seconds']:g} s from the {how['window']}, zero-padded if shorter |",
        f"| R peaks | {how['detector']} |",
        f"| flat, saturated or missing leads | {how['flawed_leads']} |",
        "",
    ]
    if labels:
        lines += ["## Labels", "", f"Label set `{config['label_set']}`: {', '.join(labels)}.", ""]
    lines += ["## What was measured", "", *_measured(rows), ""]
    lines += [
        "## Whose data",
        "",
        *(f"- {name}: {licence or 'see its card'}" for name, licence in config["corpora"].items()),
    ]
    lines += [
        "",
        "Whether weights may be passed on is for the licences and agreements of these data to say. A research model: "
        "it has not been validated for any clinical use.",
        "",
    ]
    return "\n".join(lines)


def _measured(rows: pd.DataFrame) -> list[str]:
    shown = rows[rows["metric"].isin(_SEEN) & rows["split"].isin(["val", "test"])]
    lines = ["| where | on | split | metric | value | recordings |", "|---|---|---|---|---:|---:|"]
    for row in shown.itertuples():
        lines.append(
            f"| {row.domain} | {row.target} | {row.split} | {row.metric} | {row.value:.4g} | {row.n_evaluated} |"
        )
    return lines


def _filters(recipe: Mapping[str, Any]) -> str:
    said = recipe_of(recipe)
    return str(said) if said == Recipe() else f"{said}; zero-phase, before resampling"
