"""The paper's configurations on what anybody may download: 1.15 million recordings to pretrain on, five sets held out.

What it costs: `ecgscale plan open_grid --device a100` prices the downloads, their preparation and the training.
What it needs: `mimic-open` (MIMIC-IV-ECG's open module, 800,035 recordings) and `code15` (CODE-15%, 345,779) to
pretrain on, and to be probed on `ptbxl`, `csn`, `cpsc2018`, `sph` and `zzu-pecg`: 1.26 million recordings, none of
which needs an agreement (their licences differ: `ecgscale data card NAME`). `ecgscale data list` has the lines that
download them.
How to run it: prepare the two, train the codebook (`ecgscale codebook train --sweep open_grid`), then
`ecgscale launch open_grid --address auto --tasks-available`: held-out sets that are not prepared yet come in later, by
`ecgscale reprobe open_grid`.

D spans three decades, 1,000 to a million recordings of both hospitals in the proportion in which they are there. Heads
learn CODE's six labels: of CODE-15% as annotated there, of MIMIC-IV-ECG as its carts say them, so a supervised loss is
in part that of imitating a program. What that does is seen on each corpus alone, at three sizes of D. Masked runs read
one corpus, that of their codebook: MIMIC-IV-ECG. Ladders, rungs and schedule are those of code_grid: every size at all
the data, four of each ladder at the lower fractions.
"""

from itertools import product

from ecgscale.data.corpus import Slice
from ecgscale.models import RESNETS, TRANSFORMERS, Architecture, Codebook
from ecgscale.objectives import CMSC, Masked, Objective, Supervised
from ecgscale.spec import Run, Sweep
from ecgscale.spec.tasks import Task

FRACTIONS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)  # of the training patients, beside all of them
CODE15_A_RECORDING = 0.39  # recordings of CODE-15% to one of MIMIC-IV-ECG, as there are in training
CODEBOOK = Codebook("mimic-open")

CONFIGURATIONS: tuple[tuple[tuple[Architecture, ...], tuple[int, ...], Objective, str], ...] = (
    (RESNETS, (1, 3, 5, 7), Supervised(), "code6"),
    (RESNETS, (1, 3, 5, 7), CMSC(), ""),
    (TRANSFORMERS, (1, 3, 5, 8), Supervised(), "code6"),
    (TRANSFORMERS, (1, 3, 5, 8), Masked(CODEBOOK), ""),
)
HELD_OUT = (
    "ptbxl-diag",
    "ptbxl-sub",
    "ptbxl-sup",
    "ptbxl-form",
    "ptbxl-rhythm",
    "csn",
    "cpsc2018",
    Task("sph-aha", "sph", "aha", "A"),
    Task("zzu-disease", "zzu-pecg", "disease4", "B"),  # of children, none of whom is pretrained on
    Task("ptbxl-sex-open", "ptbxl", "sex", "D"),
    Task("ptbxl-age-open", "ptbxl", "age", "D"),  # a number
    Task("zzu-sex", "zzu-pecg", "sex", "D"),
)


def part(objective: Objective, fraction: float, labels: str) -> Slice:
    mix = () if isinstance(objective, Masked) else (("code15", CODE15_A_RECORDING),)
    return Slice("mimic-open", fraction, labels, mix)


SWEEP = Sweep(
    "open_grid",
    (
        *(
            Run(architecture, objective, part(objective, fraction, labels))
            for ladder, some, objective, labels in CONFIGURATIONS
            for architecture, fraction in (
                *product(ladder, (1.0,)),
                *product((ladder[rung] for rung in some), FRACTIONS),
            )
        ),
        *(
            Run(RESNETS[3], Supervised(), Slice(corpus, fraction, "code6"))
            for corpus, fraction in product(("mimic-open", "code15"), (0.01, 0.1, 1.0))
        ),
    ),
    tasks=HELD_OUT,
    keep="all",  # for tasks that come later
)
