"""The device of a verb that computes: the one that was asked for, else the one that is there, said aloud."""

from typing import Annotated

import typer

from ecgscale.cli.door import Refused
from ecgscale.cli.terminal import say

ChosenDevice = Annotated[
    str | None, typer.Option("--device", help="cpu, cuda, cuda:1, ...; if left out cuda, where torch finds a GPU.")
]


def chosen(device: str | None) -> str:
    """The device to compute on. Raises Refused for a GPU that torch cannot use."""
    import torch

    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device is None:
        device = "cuda" if there else "cpu"
        say(f"on {device}" + (" (--device cpu for the processor)" if there else ": torch finds no GPU here"))
    number = device.partition(":")[2]
    if device.startswith("cuda") and (not there or (number.isdigit() and int(number) >= there)):
        what = f"{there} that" if there else "no GPU here that"
        raise Refused(f"--device {device}: there is {what} torch {torch.__version__.split('+')[0]} can use")
    return device
