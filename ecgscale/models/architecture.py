"""What a model says of itself before it is built: its name, its size, and what it reads."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from ecgscale.models.features import Backbone


@dataclass(frozen=True, init=False)  # a subclass that forgets @dataclass takes no arguments
class Architecture(ABC):
    """The description of a backbone: a frozen dataclass, whose fields are part of a run's identity.

    One that inherits this class gives ``kind``, ``size`` and ``build()``, and the rest where the defaults do not fit.
    It may stand in a sweep file or a module beside it, in a package with an entry point "ecgscale.architectures", or in
    a file of ``ecgscale/models`` with a line in ``ARCHITECTURES``. ``ecgscale check FILE`` tries it.
    """

    @property
    @abstractmethod
    def kind(self) -> str:
        """Its name in configurations ("resnet-sl"), descriptions and the registry."""

    @property
    @abstractmethod
    def size(self) -> str:
        """This rung of its ladder, for people: "3x24"."""

    @property
    def input(self) -> str:
        """What it reads of a batch: "signal" (leads x samples), "beats" (sentences) or "patches"."""
        return "signal"

    @property
    def sampling_hz(self) -> int:
        """Samples a second of the recordings that it reads, as they are stored."""
        return 100

    @property
    def native_hz(self) -> int:
        """Samples a second that its network computes on; ``Backbone.inputs`` brings recordings there."""
        return self.sampling_hz

    @property
    def amplitude(self) -> str:
        """How its network's numbers follow from a recording: one of ``native.AMPLITUDES``."""
        return "sd"

    @property
    def native_samples(self) -> int:
        """Samples of the recordings that its network was trained on, at the rate it computes on; 0: of any."""
        return 0

    @property
    def length(self) -> str:
        """What becomes of longer and shorter recordings: one of ``native.LENGTHS``."""
        return "any"

    @property
    def native_leads(self) -> int:
        """Leads that its network reads, in their usual order: a corpus that has not the twelve is refused for it.

        1: the first that a corpus has; 0: whatever leads there are.
        """
        return 0 if self.any_leads else 12

    @property
    def any_leads(self) -> bool:
        """Whether it reads whatever leads there are, not only twelve."""
        return False

    @property
    def localised(self) -> bool:
        """Whether its local features are placed in time (``Backbone.places``), so that single beats can be probed."""
        return False

    @property
    def causal(self) -> bool:
        """Whether local features know their past alone; ``Backbone.token_embeddings`` are then what each begins as."""
        return False

    def macs(self, n_samples: int) -> int | None:
        """Multiply-accumulates of the backbone on one recording of so many samples; None: they are counted.

        For operations that neither fvcore nor torch's flop counter knows, such as a kernel of one's own.
        """
        return None

    @abstractmethod
    def build(self) -> Backbone:
        """The network with random weights, drawn from torch's generator."""
