"""What there is under which name: ours, and what installed packages add by entry points ("ecgscale.architectures").

Packages are asked when a name is wanted that is not ours, or all names are: nothing is imported before.
"""

import sys
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeVar

T = TypeVar("T")


class Registry(MutableMapping[str, T]):
    """Names of one kind of thing, such as "architectures", in the order in which they were added.

    ``problem`` says what is wrong with a thing that a package calls so, or "". Raises ValueError when a package's name
    is taken; one that cannot be loaded is named on stderr, once, and left out.
    """

    def __init__(
        self, kind: str, ours: Mapping[str, T], problem: Callable[[str, Any], str] = lambda name, thing: ""
    ) -> None:
        self.kind, self.problem = kind, problem
        self._known, self._ours, self._whole = dict(ours), dict(ours), False

    def __getitem__(self, name: str) -> T:
        if name not in self._known:
            self._ask_packages()
        return self._known[name]

    def __setitem__(self, name: str, thing: T) -> None:
        self._known[name] = thing

    def __delitem__(self, name: str) -> None:
        del self._known[name]

    def __iter__(self) -> Iterator[str]:
        self._ask_packages()
        return iter(self._known)

    def __len__(self) -> int:
        self._ask_packages()
        return len(self._known)

    def _ask_packages(self) -> None:
        if self._whole:
            return
        self._whole = True  # also for what the packages ask while they are imported
        found: dict[str, T] = {}
        givers = dict.fromkeys(self._ours, "ecgscale")
        for point in sorted(_entry_points(f"ecgscale.{self.kind}"), key=lambda point: (_giver(point), point.name)):
            if point.name in givers:
                self._whole = False
                raise ValueError(
                    f"{_giver(point)} and {givers[point.name]} both have {self.kind} called {point.name!r}; "
                    "uninstall one of them"
                )
            givers[point.name] = _giver(point)
            try:
                thing = point.load()
                problem = self.problem(point.name, thing)
            except (Exception, SystemExit) as error:
                problem = f"it cannot be loaded ({type(error).__name__}: {_line(error)})"
            if problem:
                what = f"{_giver(point)}'s {point.name!r} among {self.kind}"
                print(f"ecgscale: {what} is left out: {problem}", file=sys.stderr)
            else:
                found[point.name] = thing
        self._known |= found


@cache
def _entry_points(group: str) -> tuple[EntryPoint, ...]:
    return tuple({(point.name, point.value): point for point in entry_points(group=group)}.values())


def _giver(point: EntryPoint) -> str:
    """The name of the package that an entry point belongs to."""
    return str(point.dist.name) if point.dist else point.module


def _line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [""])[0]
