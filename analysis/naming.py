"""What a configuration is called: R-SL for resnet-sl, by one rule for people who read it and for people who type it."""

from collections.abc import Iterable

_LETTERS = {"resnet": "R", "transformer": "T", "s4d": "S4D", "mamba": "Mamba", "vit": "ViT"}
_ARCHITECTURES = {
    "resnet": "residual network",
    "transformer": "Transformer",
    "s4d": "diagonal state spaces",
    "mamba": "selective state spaces",
    "vit": "vision transformer",
}
_PARADIGMS = {
    "sl": "supervised",
    "ssl": "self-supervised",
    "cpc": "contrastive predictive coding",
    "jepa": "joint embedding prediction",
}
_CALLED = {"ecgfounder-sl": "ECGFounder", "vit-dino": "ViT-DINO"}  # by their authors
_SHORT = {f"{letter}-{p}".upper(): f"{name}-{p}" for name, letter in _LETTERS.items() for p in _PARADIGMS}
_SHORT |= {called.upper(): name for name, called in _CALLED.items()}


def label(configuration: str) -> str:
    """A configuration's name for people: "resnet-ssl" -> "R-SSL"; of any other, its own."""
    if configuration in _CALLED:
        return _CALLED[configuration]
    architecture, _, paradigm = configuration.rpartition("-")
    known = architecture in _LETTERS and paradigm in _PARADIGMS
    return f"{_LETTERS[architecture]}-{paradigm.upper()}" if known else configuration


def spelled_out(configurations: Iterable[str]) -> dict[str, str]:
    """What the short names of these configurations stand for: "R-SSL" -> "residual network, self-supervised"."""
    named = [c for c in configurations if c not in _CALLED and label(c).upper() in _SHORT]
    parts = {label(c): c.rpartition("-")[::2] for c in named}
    return {
        short: f"{_ARCHITECTURES[architecture]}, {_PARADIGMS[paradigm]}"
        for short, (architecture, paradigm) in parts.items()
    }


def configuration_named(text: str) -> str:
    """The configuration that somebody means: "R-SSL" or "r-ssl" -> "resnet-ssl"; any other as it is."""
    return _SHORT.get(text.upper(), text)
