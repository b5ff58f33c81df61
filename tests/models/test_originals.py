"""Published networks through the product's importer, against what their originals compute under formula weights."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ecgscale.data.batches import Batch
from ecgscale.models import (
    ECG_FM,
    HUBERT_ECG,
    MERL_RESNET18,
    MERL_VIT_TINY,
    PCLR,
    RIBEIRO,
    RIBEIRO_KERAS,
    TIMESNET,
    TRANSFORMERS,
    Architecture,
    Net1D,
    Wave,
)
from ecgscale.models.native import LENGTHS, fitted
from ecgscale.objectives import Supervised
from tests.originals import Heard, alike, file_of, imported, said, shown

NOTHING = [torch.zeros(2, 0)] * 3


@pytest.fixture(autouse=True)
def _no_gradients():  # type: ignore[no-untyped-def]
    with torch.no_grad():
        yield


def n_params(architecture: Architecture) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in architecture.build().parameters())


@pytest.mark.parametrize(("model", "leads"), [("ecgfounder_12lead", 12), ("ecgfounder_1lead", 1)])
def test_ecgfounder(model: str, leads: int) -> None:
    found, backbone = imported(file_of(model))
    heard = Heard(stem=backbone.stem, stage0=backbone.stages[0], stage3=backbone.stages[3])
    features = backbone.encode(shown(leads, 5000)).pooled
    idle_norms = sum(np.prod(shape) for name, shape, _ in said(model)["keys"] if name in found.dropped and len(shape))
    idle_norms //= 2  # of a norm's four vectors two are parameters
    assert sum(p.numel() for p in backbone.parameters()) + 150 * 1025 + idle_norms == said(model)["parameters"]
    alike(
        model,
        {
            "feature": features,
            "logits": features @ found.head["weight"].T + found.head["bias"],
            "stem_conv_first16": heard["stem"][..., :16],
            "stem_conv_last4": heard["stem"][..., -4:],
            "stage0_mean": heard["stage0"].mean(-1),
            "stage3_mean": heard["stage3"].mean(-1),
        },
    )


def test_ribeiros_published_network_is_described_to_the_last_number() -> None:
    """12 x 4,096 samples at 400 Hz: strides 1, 4, 4, 4, 4, and a head on all 5,120 features."""
    assert (RIBEIRO.strides, RIBEIRO.sampling_hz) == ((1, 4, 4, 4, 4), 400)
    found, backbone = imported(file_of("ribeiro_pytorch"))
    assert found.architecture.amplitude == "code"
    assert n_params(RIBEIRO) + 6 * 5121 == said("ribeiro_pytorch")["parameters"]
    assert n_params(RIBEIRO) + 44 * 5121 == 7_144_908
    heard = Heard(stem=backbone.stem_norm, block1=backbone.blocks[1])
    batch = Batch(shown(12, 4096), *NOTHING)._replace(mv=torch.tensor([0.5]))  # twice its millivolts are the numbers
    features = backbone(batch)
    alike(
        "ribeiro_pytorch",
        {
            "feature": features.local.mean(1),
            "flat_sample": features.pooled[:, ::37],
            "logits": features.pooled @ found.head["weight"].T + found.head["bias"],
            "stem_bn_first16": heard["stem"][:, :, 0, :16],
            "block1_mean": heard["block1"][0].mean((2, 3)),
        },
    )


def test_merls_resnet() -> None:
    found, backbone = imported(file_of("merl_resnet18"))
    assert n_params(found.architecture) + 44 * 513 == said("merl_resnet18")["parameters"] == 3_871_404
    heard = Heard(stem=backbone.stem_norm, layer2=backbone.blocks[3])
    alike(
        "merl_resnet18",
        {
            "feature": backbone.encode(shown(12, 5000)).pooled,
            "stem_bn_first16": heard["stem"][..., :16],
            "layer2_mean": heard["layer2"].mean(-1),
        },
    )


def test_merls_vit() -> None:
    found, backbone = imported(file_of("merl_vit_tiny"))
    assert n_params(found.architecture) + 44 * 193 == said("merl_vit_tiny")["parameters"] == 5_481_644
    heard = Heard(patch=backbone.embed, block0=backbone.layers[0])
    alike(
        "merl_vit_tiny",
        {
            "feature": backbone.encode(shown(12, 5000)).pooled,
            "patch_embedding_mean": heard["patch"].mean(-1),
            "block0_token0": heard["block0"][:, 0],
        },
    )


WHOLE = [pytest.param("never", id="whole", marks=pytest.mark.slow)]


@pytest.mark.parametrize("without", [*WHOLE, pytest.param("encoder.layers.1", id="one-layer")])
def test_hubert_ecg(without: str) -> None:
    """Five seconds of twelve leads at 100 Hz, one behind the other; with one layer, what its first layer puts out."""
    assert n_params(HUBERT_ECG) + 768 == said("hubert_ecg_base")["parameters"]  # an idle token of a mask
    _, backbone = imported(_first_layer("hubert_ecg_base", without))
    heard = Heard(token_norm=backbone.token_norm, token=backbone.token, layer0=backbone.layers[0])
    convolved: list[torch.Tensor] = []
    backbone.token_norm.register_forward_pre_hook(lambda _, given: convolved.append(given[0]))
    found = backbone.encode(shown(1, 6000)[:, None])
    ours = {
        "extractor_mean": convolved[0].mean(1),
        "projection_mean": heard["token"].mean(1),
        "layer0_token0": heard["layer0"][:, 0],
    }
    if without == "never":
        ours |= {"feature": found.pooled, "token_first": found.local[:, 0], "token_last": found.local[:, -1]}
    assert found.local.shape[1] == 93
    alike("hubert_ecg_base", ours)


@pytest.mark.parametrize("without", [*WHOLE, pytest.param("encoder.layers.1", id="one-layer")])
def test_ecg_fm(without: str) -> None:
    heads = sum(int(np.prod(shape)) for name, shape, _ in said("ecg_fm")["keys"] if _is_pretraining(name))
    assert n_params(ECG_FM) + heads == said("ecg_fm")["parameters"] == 90_883_072
    _, backbone = imported(_first_layer("ecg_fm", without))
    heard = Heard(position=backbone.position, layer0=backbone.layers[0])
    convolved: list[torch.Tensor] = []
    backbone.token_norm.register_forward_pre_hook(lambda _, given: convolved.append(given[0]))
    found = backbone.encode(shown(12, 2500)[:, None])
    ours = {
        "extractor_mean": convolved[0].mean(1),
        "conv_pos_mean": heard["position"].mean(1),
        "layer0_token0": heard["layer0"][:, 0],
    }
    if without == "never":
        ours |= {"feature": found.pooled, "token_first": found.local[:, 0], "token_last": found.local[:, -1]}
    assert found.local.shape[1] == 156
    alike("ecg_fm", ours)


@pytest.mark.parametrize("without", [*WHOLE, pytest.param("transformer.layers.1", id="one-layer")])
def test_heartlang(without: str) -> None:
    found, backbone = imported(_first_layer("heartlang_base", without))
    assert {name.partition(".")[0] for name in found.dropped} == {"lm_head"}
    heard = Heard(word=backbone.word, attended=backbone.layers[0].project)
    sentence = heartlang_sentence()
    ours = {}
    if without == "never":
        assert sum(p.numel() for p in backbone.parameters()) == 38_262_528
        features = backbone.encode(*sentence)
        ours = {
            "feature": features.pooled,
            "token_mean": features.local.mean(1),
            "token_10": features.local[:, 10],
        }
        lead = sentence[1]
        i = torch.arange(256)
        masked = ((i * 5 + torch.arange(2)[:, None]) % 11 < 5) & (lead > 0)
        hidden = backbone.encode(*sentence, masked=masked)
        ours |= {"masked_feature": hidden.pooled, "masked_token_mean": hidden.local.mean(1)}
    backbone.encode(*sentence)
    ours |= {"word_embedding_token0": heard["word"][..., 0], "first_attention_token0": heard["attended"][:, 0]}
    alike("heartlang_base", ours)


def heartlang_sentence() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    i = torch.arange(256)
    lead = (1 + i * 12 // 256).repeat(2, 1)
    lead[1, 200:] = 0
    second = torch.where(lead > 0, 1 + (i * 7 + torch.arange(2)[:, None]) % 10, 0)
    return torch.where(lead[..., None] > 0, shown(256, 96), 0.0), lead, second


def _is_pretraining(name: str) -> bool:
    return name.startswith(("mask_emb", "quantizer.", "project_q.", "final_proj."))


def _first_layer(model: str, without: str) -> dict[str, torch.Tensor]:
    """A file whole, or with the first of its layers alone."""
    if without == "never":
        return file_of(model)
    kept = without.rpartition(".")[0] + ".0."
    every = without.rpartition(".")[0] + "."
    names = [name for name, _, _ in said(model)["keys"] if name.startswith(every) and not name.startswith(kept)]
    return file_of(model, tuple(names))


def test_the_keras_networks_have_their_counts() -> None:
    """No outputs of theirs are at hand: TensorFlow runs nowhere here."""
    assert n_params(RIBEIRO_KERAS) + 6 * 5121 == 6_421_910
    assert n_params(PCLR) == 6_391_184
    assert n_params(PCLR) + 2 * (320 + 1) * 320 == 6_596_624


def test_ten_seconds_are_the_mean_of_two_segments() -> None:
    torch.manual_seed(0)
    net = Wave(1, 16, 2, 16, (8, 8), (4, 4), (4, 4), True, 8, 2, native_hz=100, amplitude="min-max-lead")
    backbone, signal = net.build().eval(), shown(12, 1000)
    halves = [backbone(Batch(half, *NOTHING)).pooled for half in (signal[..., :500], signal[..., 500:])]
    found = backbone.inputs(Batch(signal, *NOTHING))[0]
    assert found.shape == (2, 2, 1, 6000)  # lead after lead in one channel, each from -1 to 1
    assert (float(found.amin()), float(found.amax())) == pytest.approx((-1, 1), abs=1e-5)
    torch.testing.assert_close(backbone(Batch(signal, *NOTHING)).pooled, (halves[0] + halves[1]) / 2)


NATIVE = {  # samples that each was trained on, and what becomes of others
    "ECGFounder": (Net1D(), 5000, "any", 500),
    "ECGFounder of one lead": (Net1D(leads=1), 5000, "any", 500),
    "HeartLang": (TRANSFORMERS[0], 1000, "sentence", 100),
    "Ribeiro": (RIBEIRO, 4096, "fixed", 400),
    "Ribeiro (Keras)": (RIBEIRO_KERAS, 4096, "fixed", 400),
    "PCLR": (PCLR, 4096, "any", 500),
    "MERL ResNet": (MERL_RESNET18, 5000, "any", 500),
    "MERL ViT": (MERL_VIT_TINY, 5000, "longest", 500),
    "ECG-FM": (ECG_FM, 2500, "segments", 500),
    "HuBERT-ECG": (HUBERT_ECG, 500, "segments", 100),
    "a baseline": (TIMESNET, 1000, "fixed", 100),
}


@pytest.mark.parametrize("name", NATIVE)
def test_a_model_says_what_it_was_trained_on(name: str) -> None:
    net, *told = NATIVE[name]
    assert [net.native_samples, net.length, net.native_hz] == told
    assert net.native_leads == (1 if name.endswith("one lead") else 12)
    assert net.length in LENGTHS


@pytest.mark.parametrize(
    ("net", "seconds", "shape"),
    [
        (RIBEIRO, 7, (2, 12, 1, 4096)),
        (RIBEIRO, 60, (2, 12, 1, 4096)),
        (RIBEIRO_KERAS, 7, (2, 12, 4096)),
        (RIBEIRO_KERAS, 60, (2, 12, 4096)),
        (PCLR, 5, (2, 12, 2048)),
        (Net1D(reads_hz=250), 10, (2, 12, 5000)),
        (MERL_RESNET18, 30, (2, 12, 15000)),
        (MERL_VIT_TINY, 30, (2, 12, 5000)),
        (MERL_VIT_TINY, 5, (2, 12, 2500)),
        (ECG_FM, 30, (2, 6, 12, 2500)),
        (HUBERT_ECG, 12, (2, 2, 1, 6000)),
        (TIMESNET, 5, (2, 12, 1000)),
        (TIMESNET, 30, (2, 12, 1000)),
        (replace(TIMESNET, pooling="mean"), 5, (2, 12, 500)),
    ],
)
def test_recordings_of_any_length_are_brought_to_a_models(
    net: Architecture, seconds: int, shape: tuple[int, ...]
) -> None:
    with torch.device("meta"):
        backbone = net.build()
    found = backbone.inputs(Batch(shown(12, seconds * net.sampling_hz), *NOTHING))[0]
    assert found.shape == shape


def test_what_is_longer_is_cut_in_its_middle_and_what_is_shorter_padded_on_both_sides() -> None:
    signal = torch.arange(1.0, 8.0).expand(1, 2, 7)
    assert fitted(signal, 4, "fixed")[0, 1].tolist() == [3, 4, 5, 6]
    assert fitted(signal, 4, "longest")[0, 1].tolist() == [3, 4, 5, 6]
    assert fitted(signal, 10, "fixed")[0, 1].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 0, 0]
    for n_samples, length in ((10, "longest"), (4, "any"), (7, "fixed")):
        assert fitted(signal, n_samples, length) is signal


def test_frozen_convolutions_stay_as_they_are_in_training() -> None:
    network = Wave(
        1, 16, 2, 32, (8, 8), (4, 4), (4, 4), position_kernel=8, position_groups=2, native_hz=100, frozen=True
    )
    module = Supervised().build(network.build(), 2)
    before = {name: tensor.clone() for name, tensor in module.backbone.state_dict().items()}
    batch = Batch(shown(12, 500), *NOTHING)._replace(labels=torch.tensor([[0.0, 1.0], [1.0, 0.0]]), mv=torch.ones(2))
    (group,) = module.groups()
    optimiser = torch.optim.Adam(group.parameters, lr=0.1)
    with torch.enable_grad():
        module(batch, torch.Generator()).mean.backward()
    optimiser.step()
    moved = {name for name, tensor in module.backbone.state_dict().items() if not torch.equal(tensor, before[name])}
    assert moved
    assert {name.partition(".")[0] for name in before} - {name.partition(".")[0] for name in moved} == {
        "convolutions",
        "first_norm",
    }
