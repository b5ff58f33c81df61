"""Learning rate and weight decay as functions of the step, as a schedule and an objective's optimiser say together."""

import math
from collections.abc import Callable

from ecgscale.objectives import Optimiser
from ecgscale.spec.run import Schedule


def rate_of(schedule: Schedule, settings: Optimiser) -> Callable[[int, float, int], float]:
    """The learning rate of a schedule: a function of the budget that is trained for, the peak, and the step."""
    share = settings.warmup if schedule.warmup is None else schedule.warmup
    n_warm = max(1, round(share * schedule.lengths[0]))

    def cosine(budget: int, peak: float, step: int) -> float:
        return learning_rate(step, budget, peak, n_warm, settings.min_lr)

    def wsd(budget: int, peak: float, step: int) -> float:
        begin = schedule.leaves(budget)
        if step < begin:
            return peak * min(1.0, (step + 1) / n_warm)
        low = min(settings.min_lr, peak)
        return low + (peak - low) * (1 - math.sqrt((step - begin) / (budget - begin)))

    return {"cosine": cosine, "wsd": wsd}[schedule.decay]


def learning_rate(step: int, steps: int, peak: float, n_warm: int, min_lr: float) -> float:
    """Linear warm-up over the first ``n_warm`` steps, then a cosine to ``min_lr`` (or the peak, if that is lower)."""
    if step < n_warm:
        return peak * (step + 1) / n_warm
    low = min(min_lr, peak)
    progress = (step - n_warm) / max(1, steps - n_warm)
    return low + (peak - low) * 0.5 * (1 + math.cos(math.pi * progress))


def weight_decay(step: int, steps: int, settings: Optimiser) -> float:
    """The objective's weight decay, on a cosine to its final one if it has one."""
    if settings.final_weight_decay is None:
        return settings.weight_decay
    progress = 0.5 * (1 - math.cos(math.pi * step / steps))
    return settings.weight_decay + (settings.final_weight_decay - settings.weight_decay) * progress
