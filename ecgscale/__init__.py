"""Scaling laws of electrocardiogram models: ``import ecgscale as es``.

    rows = es.load("results")                      # losses of every run, step and target
    table = es.fit(rows)                           # every law on every group, with intervals
    es.exponents(table, law="size", target="ptbxl-sample")
    es.predict(rows, "resnet-ssl", "ptbxl-sample", n_params=1e6, n_samples=1e5)
    es.plot("scaling", rows, table, folder="figures")
    sweep = es.sweep("mine.py"); es.run(sweep, sweep.runs[0].run_id)

Nothing is imported before it is asked for.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ecgscale.facade import exponents, fit, load, plot, predict, run, sweep

    __version__: str

__all__ = ["__version__", "exponents", "fit", "load", "plot", "predict", "run", "sweep"]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("ecgscale")
    if name in __all__:
        from ecgscale import facade

        return getattr(facade, name)
    raise AttributeError(f"module 'ecgscale' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
