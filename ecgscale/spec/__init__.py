"""What is asked: a run as a value with an identity, a sweep as a tuple of runs, and the tasks that probe them."""

from ecgscale.spec.run import Evaluation, Run, Schedule
from ecgscale.spec.sweep import Sweep
from ecgscale.spec.tasks import TASKS, Task

__all__ = ["TASKS", "Evaluation", "Run", "Schedule", "Sweep", "Task"]
