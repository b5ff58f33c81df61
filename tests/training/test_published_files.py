"""Published files of every format are read as data alone, and say whose they are."""

import argparse
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from ecgscale.models import KerasResNet, MultileadViT
from ecgscale.models.keras_resnet import same
from ecgscale.training import weights
from ecgscale.training.published_files import tensors_of
from tests.shell import Shell

SMALL = MultileadViT(1, 64, 1, ffn=32, reads_hz=500)


def merl_vit() -> dict[str, torch.Tensor]:
    """A small ViT under the names of MERL's."""
    torch.manual_seed(0)
    shapes = {
        "to_patch_embedding.weight": (64, 12, 50),
        "pos_embedding": (1, 100, 64),
        **{f"{norm}.{part}": (64,) for norm in ("norm", "block0.attn.norm", "block0.ff.norm") for part in PARTS},
        "block0.attn.fn.to_qkv.weight": (192, 64),
        "block0.attn.fn.to_qkv.bias": (192,),
        "block0.attn.fn.to_out.0.weight": (64, 64),
        "block0.attn.fn.to_out.0.bias": (64,),
        "block0.ff.fn.net.0.weight": (32, 64),
        "block0.ff.fn.net.0.bias": (32,),
        "block0.ff.fn.net.3.weight": (64, 32),
        "block0.ff.fn.net.3.bias": (64,),
    }
    return {name: torch.randn(shape) for name, shape in shapes.items()}


PARTS = ("weight", "bias")


def test_a_checkpoint_with_arguments_arrays_and_another_model_beside_the_weights(home: Path, tmp_path: Path) -> None:
    whole = {f"module.ecg_encoder.{name}": tensor for name, tensor in merl_vit().items()}
    whole["module.downconv.weight"] = torch.zeros(3)
    beside = {
        "args": argparse.Namespace(lr=1e-3, name="merl"),
        "all_gt": np.arange(6.0).reshape(2, 3),
        "best": np.float32(0.5),
    }
    torch.save({**beside, "model": whole}, tmp_path / "merl.pth")
    found, digest = weights.adopt_file(tmp_path / "merl.pth", home)
    assert (found.family.name, found.architecture) == ("MERL ViT-tiny", SMALL)
    assert found.dropped == ("downconv.weight",)
    torch.testing.assert_close(weights.load(digest, home)["position"], merl_vit()["pos_embedding"][0])
    assert weights.head(digest, home) is None


def test_safetensors_say_what_was_found_and_dropped(tmp_path: Path, shell: Shell) -> None:
    save_file(merl_vit() | {"head.weight": torch.zeros(5, 64), "head.bias": torch.zeros(5)}, tmp_path / "m.safetensors")
    said = shell.type("weights", "import", str(tmp_path / "m.safetensors"))
    assert said.returncode == 0, said.stderr
    for sentence in (
        "MERL ViT-tiny: imported, 16 tensors of",
        "licence of its weights: MIT",
        "left out: head (2 tensors); no feature depends on them",
        "it computes on 12 leads at 500 Hz, 0 to 1 over all leads of a recording together",
        "it was trained on recordings of 5,000 samples: longer ones are cut in their middle, shorter ones are read as",
        "it reads corpora stored at 500 Hz",
        "of corpora at 100 Hz: replace(..., reads_hz=100)",
    ):
        assert sentence in said.stderr
    (tmp_path / "m.safetensors").write_bytes((tmp_path / "m.safetensors").read_bytes()[:5000])
    cut = shell.type("weights", "import", str(tmp_path / "m.safetensors"))
    assert (cut.returncode, "m.safetensors is no whole safetensors file" in cut.stderr) == (2, True)


def test_a_head_of_pretraining_is_left_out_and_said_so(tmp_path: Path, shell: Shell) -> None:
    """HeartLang's tells the codes of the codebook that it was trained with."""
    layer = {"norm.weight": 64, "norm.bias": 64, "to_out.0.bias": 64}
    feed = {"0.weight": 64, "0.bias": 64, "1.bias": 96, "4.bias": 64}
    shapes: dict[str, tuple[int, ...]] = {
        "token_embed.tokenConv.weight": (64, 96, 3),
        "mask_token": (1, 1, 64),
        "cls_token": (64,),
        "pos_embed": (1, 257, 64),
        "spa_embed.embed.weight": (16, 64),
        "tem_embed.embed.weight": (16, 64),
        "norm_layer.weight": (64,),
        "norm_layer.bias": (64,),
        "transformer.layers.0.0.to_qkv.weight": (192, 64),
        "transformer.layers.0.0.to_out.0.weight": (64, 64),
        "transformer.layers.0.1.net.1.weight": (96, 64),
        "transformer.layers.0.1.net.4.weight": (64, 96),
        **{f"transformer.layers.0.0.{name}": (n,) for name, n in layer.items()},
        **{f"transformer.layers.0.1.net.{name}": (n,) for name, n in feed.items()},
        "lm_head.weight": (128, 64),
        "lm_head.bias": (128,),
    }
    torch.save({"model": {name: torch.randn(shape) for name, shape in shapes.items()}}, tmp_path / "checkpoint.pth")
    said = shell.type("weights", "import", str(tmp_path / "checkpoint.pth"))
    assert said.returncode == 0, said.stderr
    for sentence in (
        "HeartLang: imported, 19 tensors of",
        "left out: lm_head (2 tensors); no feature depends on them",
        "of them by its pretraining: lm_head; a run that pretrains it further learns heads of its own",
        "it was trained on recordings of 1,000 samples: beats that a sentence has no place for are left out",
    ):
        assert sentence in said.stderr


def keras_file(path: Path, *, projections: bool) -> dict[str, np.ndarray]:
    """A small network as Keras writes PCLR, or Ribeiro's with six labels."""
    draw, channels, layers = np.random.default_rng(0), (4, 6, 8, 10, 12), {}
    forms = [(16, 12, 4)]
    for n_in, n_out in pairwise(channels):
        forms += [(1, n_in, n_out), (16, n_in, n_out), (16, n_out, n_out)]
    for i, form in enumerate(forms):
        layers[f"conv1d{f'_{i}' if i else ''}", "kernel"] = draw.normal(size=form)
    for i, n in enumerate((4, 6, 6, 8, 8, 10, 10, 12, 12)):
        for part in ("gamma", "beta", "moving_mean", "moving_variance"):
            layers[f"batch_normalization{f'_{i}' if i else ''}", part] = draw.uniform(0.5, 1.5, n)
    for i, dense in enumerate([(12, 12), (12, 12)] if projections else [(16 * 12, 6)]):
        layers[f"dense{f'_{i}' if i else ''}", "kernel"] = draw.normal(size=dense)
        layers[f"dense{f'_{i}' if i else ''}", "bias"] = np.zeros(dense[1])
    with h5py.File(path, "w") as file:
        for (layer, part), values in layers.items():
            file[f"model_weights/{layer}/{layer}/{part}:0"] = values.astype(np.float32)
        file["optimizer_weights/training/Adam/iterations:0"] = 3
    return {f"{layer}/{part}": values for (layer, part), values in layers.items()}


def test_keras_files_need_no_tensorflow(home: Path, tmp_path: Path) -> None:
    layers = keras_file(tmp_path / "model.hdf5", projections=False)
    found, digest = weights.adopt_file(tmp_path / "model.hdf5", home)
    assert found.architecture == KerasResNet((4, 6, 8, 10, 12), reads_hz=400)
    assert found.architecture.build().width == 192
    last = torch.from_numpy(layers["conv1d_12/kernel"].astype(np.float32)).permute(2, 1, 0)
    torch.testing.assert_close(found.backbone["blocks.3.conv2.weight"], last)
    statistics = found.backbone["stem_norm.running_var"].numpy()
    np.testing.assert_allclose(statistics, layers["batch_normalization/moving_variance"], rtol=1e-6)
    head = weights.head(digest, home)
    assert head is not None
    assert head.names == ("1dAVb", "RBBB", "LBBB", "SB", "AF", "ST")
    assert head.weight.shape == (6, 192)


def test_pclr_is_told_by_its_projections(home: Path, tmp_path: Path) -> None:
    keras_file(tmp_path / "PCLR.h5", projections=True)
    found, digest = weights.adopt_file(tmp_path / "PCLR.h5", home)
    assert isinstance(found.architecture, KerasResNet)
    assert (found.architecture.pooling, found.architecture.n_samples) == ("mean", 4096)
    assert set(found.dropped) == {f"dense{i}.{part}" for i in ("", "_1") for part in PARTS}
    assert weights.head(digest, home) is None


def test_tensorflow_pads_behind() -> None:
    assert (same(4096, 16, 1), same(4096, 16, 4), same(4096, 1, 1)) == ((7, 8), (6, 6), (0, 0))


def test_what_holds_no_weights_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = np.zeros(3)
    for name, content, reason in (
        ("a.h5", None, "holds no weights as Keras writes them"),
        ("b.h5", b"\x89HDF\r\n\x1a\n....", "is no whole HDF5 file"),
        ("c.pth", b"no zip", "is no checkpoint of tensors alone"),
        ("d.safetensors", b"\x09\0\0\0\0\0\0\0{", "is no whole safetensors file"),
    ):
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=reason):
            tensors_of(tmp_path / name)


def test_a_codebook_is_sent_to_its_own_verb(home: Path, tmp_path: Path) -> None:
    names = [f"{part}.token_embed.tokenConv.weight" for part in ("encoder", "decoder")]
    torch.save({"model": {name: torch.zeros(8, 96, 3) for name in names}}, tmp_path / "vq.pth")
    with pytest.raises(ValueError, match=r"vq\.pth: it holds more than one model: .*ecgscale codebook import FILE"):
        weights.adopt_file(tmp_path / "vq.pth", home)
