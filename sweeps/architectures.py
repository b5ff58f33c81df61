"""Four families of architectures under the objectives that each can learn by: which is more efficient, in N and in D.

What it costs: see `ecgscale plan architectures --device a100`. What it needs: CODE and the eleven tasks' datasets,
prepared (`ecgscale data list`), and HeartLang's codebook, trained or imported.
How to run it: `ecgscale launch architectures --address auto`; then `ecgscale fit architectures`.

ResNets (Ribeiro's), Transformers on sentences of heartbeats (HeartLang's), S4D and Mamba: supervised on CODE's six
labels, CMSC and CPC where signals are read, masked words and JEPA where sentences are; under JEPA a Transformer is
pooled by its mean. All laws come from one grid: five rungs of each ladder, 55K to 21M parameters, by five fractions of
the training patients. Recordings, batches and steps are `code_grid`'s.
"""

from dataclasses import replace
from itertools import product

from ecgscale.data.corpus import Slice
from ecgscale.models import MAMBAS, RESNETS, S4DS, TRANSFORMERS, Architecture, Codebook
from ecgscale.objectives import CMSC, CPC, JEPA, Masked, Objective, Supervised
from ecgscale.spec import Run, Sweep
from ecgscale.spec.tasks import PAPER_TASKS

CORPUS = "code"
FRACTIONS = (0.01, 0.03, 0.1, 0.3, 1.0)  # of the training patients
CODEBOOK = Codebook("mimic")

Ladder = tuple[Architecture, ...]
RESIDUAL: Ladder = tuple(RESNETS[rung] for rung in (1, 3, 4, 5, 7))
SENTENCES: Ladder = tuple(TRANSFORMERS[rung] for rung in (1, 3, 4, 5, 8))
AVERAGED: Ladder = tuple(replace(TRANSFORMERS[rung], pooling="mean") for rung in (1, 3, 4, 5, 8))
STATE_SPACES: Ladder = tuple(S4DS[rung] for rung in (1, 3, 4, 5, 7))
SELECTIVE: Ladder = tuple(MAMBAS[rung] for rung in (1, 3, 4, 5, 7))

CONFIGURATIONS: tuple[tuple[Ladder, Objective, str], ...] = (
    *((ladder, Supervised(), "code6") for ladder in (RESIDUAL, SENTENCES, STATE_SPACES, SELECTIVE)),
    *((ladder, CMSC(), "") for ladder in (RESIDUAL, STATE_SPACES, SELECTIVE)),
    *((ladder, CPC(), "") for ladder in (RESIDUAL, STATE_SPACES, SELECTIVE)),
    (SENTENCES, Masked(CODEBOOK), ""),
    (AVERAGED, JEPA(), ""),
)

SWEEP = Sweep(
    "architectures",
    tuple(
        Run(architecture, objective, Slice(CORPUS, fraction, labels))
        for ladder, objective, labels in CONFIGURATIONS
        for architecture, fraction in product(ladder, FRACTIONS)
    ),
    tasks=tuple(task.name for task in PAPER_TASKS),
    keep="best",
)
