"""HeartLang's codebook as published: what its checkpoint calls the tensors of VQ-HBR, and what they are called here."""

import re
from collections.abc import Iterable, Mapping

import torch

from ecgscale.models.codebook import Codebook
from ecgscale.models.transformer import HEAD_WIDTH
from ecgscale.phrases import nearest

_BACKBONE = {  # of encoder and decoder alike
    "token_embed.tokenConv.weight": "word.weight",
    "mask_token": "mask_token",
    "cls_token": "class_token",
    "pos_embed": "position",
    "spa_embed.embed.weight": "lead.weight",
    "tem_embed.embed.weight": "second.weight",
    "norm_layer.weight": "norm.weight",
    "norm_layer.bias": "norm.bias",
}
_LAYER = {
    "0.norm.weight": "norm1.weight",
    "0.norm.bias": "norm1.bias",
    "0.to_qkv.weight": "qkv.weight",
    "0.to_out.0.weight": "project.weight",
    "0.to_out.0.bias": "project.bias",
    "1.net.0.weight": "norm2.weight",
    "1.net.0.bias": "norm2.bias",
    "1.net.1.weight": "expand.weight",
    "1.net.1.bias": "expand.bias",
    "1.net.4.weight": "contract.weight",
    "1.net.4.bias": "contract.bias",
}
_HEADS = {
    f"{theirs}.{part}.{kind}": f"{ours}.{part}.{kind}"
    for theirs, ours in (("encode_task_layer", "to_code"), ("decode_task_layer", "to_word"))
    for part in (0, 2)
    for kind in ("weight", "bias")
}
_CODES = "quantize.embedding.weight"
# How often each code was used while the codebook was trained; nothing that labels depend on.
_UNUSED = frozenset(
    f"quantize.{name}"
    for name in ("cluster_size", "embedding.cluster_size", "embedding.embed_avg", "embedding.initted")
)


def names(layers: int, decoder_layers: int) -> dict[str, str]:
    """Published name of every tensor that is needed, and its name in a CodebookModule."""
    mapped = {_CODES: "codes", **_HEADS}
    for part, depth in (("encoder", layers), ("decoder", decoder_layers)):
        mapped |= {f"{part}.{theirs}": f"{part}.{ours}" for theirs, ours in _BACKBONE.items()}
        for i in range(depth):
            theirs_at, ours_at = f"{part}.transformer.layers.{i}", f"{part}.layers.{i}"
            mapped |= {f"{theirs_at}.{theirs}": f"{ours_at}.{ours}" for theirs, ours in _LAYER.items()}
    return mapped


def adopt(tensors: Mapping[str, torch.Tensor], corpus: str, digest: str) -> tuple[Codebook, dict[str, torch.Tensor]]:
    """The recipe of a published VQ-HBR, and its tensors as a CodebookModule loads them.

    Sizes are those of the tensors. Codes were learned from millivolts. Raises ValueError, in one sentence, for a tensor
    that is missing, is not known, has another shape, or is not what its name says.
    """
    mapped = names(_depth(tensors, "encoder"), _depth(tensors, "decoder"))
    for name in mapped:
        if name not in tensors:
            raise ValueError(f"has no tensor {name!r}{_nearest('it has', name, set(tensors) - set(mapped))}")
    strange = sorted(set(tensors) - set(mapped) - _UNUSED)
    if strange:
        raise ValueError(
            f"has {len(tensors)} tensors, of which VQ-HBR does not know {strange[0]!r}"
            f"{_nearest('it knows', strange[0], mapped)}"
        )
    recipe = _recipe(tensors, corpus, digest)
    with torch.device("meta"):
        expected = {name: tuple(tensor.shape) for name, tensor in recipe.build().state_dict().items()}
    for theirs, ours in mapped.items():
        found, wanted = tuple(tensors[theirs].shape), expected[ours]
        if theirs.endswith(("mask_token", "pos_embed")):  # published with axes of length 1 in front
            found = found[-len(wanted) :] if set(found[: -len(wanted)]) <= {1} else found
        if found != wanted:
            raise ValueError(f"tensor {theirs!r} has shape {list(tensors[theirs].shape)}, expected {list(wanted)}")
        if not tensors[theirs].isfinite().all():
            raise ValueError(f"tensor {theirs!r} holds what is no number")
    lengths = tensors[_CODES].float().norm(dim=1)
    if not torch.allclose(lengths, (lengths > 0.5).float(), atol=1e-2) or not (lengths > 0.5).any():
        raise ValueError(
            f"the codes of {_CODES!r} are not of length 1 (or 0, where never used); were they ever trained?"
        )
    state = {ours: tensors[theirs].float().reshape(expected[ours]) for theirs, ours in mapped.items()}
    return recipe, state | {"started": torch.ones((), dtype=torch.bool)}


def _depth(tensors: Mapping[str, torch.Tensor], part: str) -> int:
    at = [re.match(rf"{part}\.transformer\.layers\.(\d+)\.", name) for name in tensors]
    layers = {int(found[1]) for found in at if found}
    if layers and max(layers) >= len(layers):
        raise ValueError(f"has a layer {max(layers)} in its {part}, and {len(layers)} layers; they count from 0")
    return max(1, len(layers))


def _recipe(tensors: Mapping[str, torch.Tensor], corpus: str, digest: str) -> Codebook:
    n_codes, code_width = tensors[_CODES].shape
    inner, width = tensors["encoder.transformer.layers.0.0.to_qkv.weight"].shape
    return Codebook(
        corpus,
        n_codes=n_codes,
        code_width=code_width,
        layers=_depth(tensors, "encoder"),
        decoder_layers=_depth(tensors, "decoder"),
        width=width,
        heads=max(1, inner // (3 * HEAD_WIDTH)),
        ffn=tensors["encoder.transformer.layers.0.1.net.1.weight"].shape[0],
        n_tokens=tensors["encoder.pos_embed"].shape[-2] - 1,
        unit="mv",
        imported=digest,
    )


def _nearest(subject: str, name: str, known: Iterable[str]) -> str:
    near = nearest(name, known)
    return f"; the nearest {subject} is {near!r}" if near else ""
