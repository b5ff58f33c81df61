"""A stranger's folder: a sweep file, a model and an objective in a module beside it, and a task of their own.

The model and the objective are those of the cookbook.
"""

from pathlib import Path

from tests.pages import COOKBOOK, files

_SHOWN = files(COOKBOOK)
ALONE = _SHOWN["sweeps/mymodel.py"] + _SHOWN["sweeps/myobjective.py"]
MODEL = ALONE.replace("KERNEL = 15  # samples, at 100 Hz", "from layers import KERNEL")
SWEEP = """
from ecgscale.data.corpus import Slice
from ecgscale.objectives import Supervised
from ecgscale.spec import Evaluation, Run, Schedule, Sweep, Task
from mymodel import Amplitude, PlainCNN

SCHEDULE, EVALUATION = Schedule(steps=4, batch_size=8, lr=1e-2), Evaluation(every=4, probe_epochs=2)
SWEEP = Sweep(
    "own",
    (
        Run(PlainCNN(4), Supervised(), Slice("ludb-sample", 0.3, "rhythm"), SCHEDULE, EVALUATION),
        Run(PlainCNN(4), Amplitude(), Slice("ludb-sample", 0.3), SCHEDULE, EVALUATION),
    ),
    tasks=("ludb-rhythm",),
    keep="best",
)
"""
WITH_TASK = SWEEP.replace('("ludb-rhythm",)', '("ludb-rhythm", Task("our-rhythm", "ludb-sample", "rhythm", "A"))')
IN_ONE = ALONE + SWEEP.replace("from mymodel import Amplitude, PlainCNN\n", "")  # a sweep file that imports nothing


def write(folder: Path, sweep: str = WITH_TASK) -> Path:
    """The sweep file in a folder, and what it imports beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "layers.py").write_text("KERNEL = 15\n")
    (folder / "mymodel.py").write_text(MODEL)
    (folder / "own.py").write_text(sweep)
    return folder / "own.py"
