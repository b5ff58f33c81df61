"""The model card: what a model is, how recordings are prepared for it, what it was measured on, whose data it saw.

The form is that of the Hugging Face Hub: a YAML header, then Markdown.
"""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from ecgscale.data.filters import Recipe, recipe_of
from ecgscale.phrases import si
from ecgscale.spec.run import Run

_SEEN = ("loss", "auroc", "f1", "r2", "mae")  # metrics that a card shows


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
        *_use(config),
        "",
        *_program(config.get("program")),
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
        units = {name: number["unit"] for name, number in config.get("numbers", {}).items()}
        named = [
            f"{name} (a number, {units[name] or 'its unit not said'})" if name in units else name for name in labels
        ]
        lines += ["## Labels", "", f"Label set `{config['label_set']}`: {', '.join(named)}.", ""]
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


def _use(config: Mapping[str, Any]) -> list[str]:
    """What to install and to type; of a model of one's own also where its class comes from."""
    versions, own = config["versions"], config.get("class", {})
    lines = [f"Install ecgscale; this was written by {versions['ecgscale']}, under torch {versions['torch']}."]
    given = by_sweep = ""
    if own.get("package"):
        lines[0] += f" Its class `{own['name']}` comes with the package `{own['package']}`, which has to be installed."
    elif own:
        module, sweep = own["file"] or own["module"], own["sweep"]
        others = f" and the sweep `{sweep}.py`" * (module != f"{sweep}.py")
        lines[0] += (
            f" Its class `{own['name']}` is no part of ecgscale and not in this folder: you need `{module}`{others}, "
            "with what they import."
        )
        given, by_sweep = f', architecture=ecgscale.sweep("{sweep}.py")', f" --sweep {sweep}.py"
    lines += [
        "",
        "```python",
        "import ecgscale",
        "",
        f'model = ecgscale.load("THIS FOLDER"{given})',
        "model.features(signals, sampling_hz=500)       # [n, width]; signals in millivolts, [n, 12, n_samples]",
    ]
    if config["labels"]:
        lines.append("model.probabilities(signals, sampling_hz=500)  # [n, n_labels], in the order of model.labels")
    lines += ["```", "", "In a shell:", "", "```console"]
    for verb in ("embed", *(["predict-labels"] if config["labels"] else [])):
        lines.append(f"$ ecgscale {verb} RECORDS --weights THIS_FOLDER{by_sweep} -o {verb}.parquet")
    return [*lines, "```"]


def _program(program: Mapping[str, Any] | None) -> list[str]:
    """What the program beside the weights takes and gives; nothing if there is none."""
    if program is None:
        return []
    inputs, outputs = program["inputs"], program["outputs"]
    return [
        "## The program",
        "",
        "`model.pt2` needs torch alone. It takes what the model's `inputs` makes of recordings prepared as below (not "
        "millivolts), any number n of them, and gives features, and logits where the model has a head.",
        "",
        "```python",
        'program = torch.export.load("model.pt2").module()',
        f"{', '.join(one['name'] for one in outputs)}{',' * (len(outputs) == 1)} = program("
        f"{', '.join(one['name'] for one in inputs)})",
        "```",
        "",
        "| | name | shape | type |",
        "|---|---|---|---|",
        *(
            f"| {what} | {one['name']} | [{', '.join(map(str, one['shape']))}] | {one['type']} |"
            for what, some in (("takes", inputs), ("gives", outputs))
            for one in some
        ),
        "",
    ]


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
