"""The published models that are known: one table of names each (sources in ``adoption.Family`` and the README)."""

import re
from dataclasses import replace
from functools import partial

from ecgscale.models.adoption import Family, Tensors, depth
from ecgscale.models.basic_resnet import MERL_RESNET18, BasicResNet
from ecgscale.models.keras_resnet import PCLR, RIBEIRO_KERAS, KerasResNet
from ecgscale.models.multilead_vit import MERL_VIT_TINY, MultileadViT
from ecgscale.models.net1d import Net1D
from ecgscale.models.resnet import RIBEIRO, ResNet
from ecgscale.models.transformer import HEAD_WIDTH, Transformer
from ecgscale.models.wave import ECG_FM, HUBERT_ECG, Wave

_BOTH = r"(weight|bias)"
_NORM = r"(weight|bias|running_mean|running_var|num_batches_tracked)"


def _ecgfounder(tensors: Tensors) -> Net1D:
    stem, leads, kernel = _shape(tensors, "first_conv.conv.weight", 3)
    n_stages = depth(tensors, r"stage_list\.(\d+)\.block_list\.\d+\.conv1\.conv\.weight$", "stage")
    widths, depths = [], []
    for s in range(n_stages):
        at = rf"stage_list\.{s}\.block_list\.(\d+)\.conv1\.conv\.weight$"
        depths.append(depth(tensors, at, f"block of stage {s}"))
        widths.append(len(next(tensor for name, tensor in tensors.items() if re.match(at, name))))
    return Net1D(tuple(widths), tuple(depths), leads, stem, kernel, reads_hz=500)


def _heartlang(tensors: Tensors) -> Transformer:
    layers = max(1, depth(tensors, r"transformer\.layers\.(\d+)\.", "layer"))
    inner, width = _shape(tensors, "transformer.layers.0.0.to_qkv.weight", 2)
    ffn, _ = _shape(tensors, "transformer.layers.0.1.net.1.weight", 2)
    n_tokens = tensors["pos_embed"].shape[-2] - 1 if "pos_embed" in tensors and tensors["pos_embed"].ndim > 1 else 256
    heads = max(1, inner // (3 * HEAD_WIDTH))
    return Transformer(layers, width, heads, ffn, n_tokens=n_tokens, amplitude="mv")


def _ribeiro(tensors: Tensors) -> ResNet:
    _, leads, kernel = _shape(tensors, "conv1.weight", 3)
    if leads != 12:
        raise ValueError(f"checkpoint's conv1.weight reads {leads} leads; only models of 12 are built here")
    return replace(RIBEIRO, kernel=kernel, amplitude="code", computes_hz=400)


_KERAS_POSITIONS = 16  # 4,096 samples through four strides of 4


def _keras(published: KerasResNet, tensors: Tensors) -> KerasResNet:
    wide = ("conv1d", *(f"conv1d_{3 * i + 2}" for i in range(4)))
    channels = tuple(_shape(tensors, f"{layer}.weight", 3)[0] for layer in wide)
    return replace(
        published,
        channels=channels,
        kernel=_shape(tensors, "conv1d.weight", 3)[2],
        reads_hz=published.native_hz,
    )


def _is_flattened(tensors: Tensors) -> bool:
    """Whether a linear layer reads all positions of the last block: Ribeiro's labels; PCLR averages over them."""
    last = next((len(tensor) for name, tensor in tensors.items() if name.endswith("conv1d_12.weight")), 0)
    return any(tensor.ndim == 2 and tensor.shape[1] == _KERAS_POSITIONS * last for tensor in tensors.values())


def _merl_resnet(tensors: Tensors) -> BasicResNet:
    return replace(MERL_RESNET18, reads_hz=500)


def _merl_vit(tensors: Tensors) -> MultileadViT:
    width, _, patch = _shape(tensors, "to_patch_embedding.weight", 3)
    layers = max(1, depth(tensors, r"block(\d+)\.", "block"))
    ffn, _ = _shape(tensors, "block0.ff.fn.net.0.weight", 2)
    return replace(
        MERL_VIT_TINY, layers=layers, width=width, heads=max(1, width // 64), patch=patch, ffn=ffn, reads_hz=500
    )


def _ecg_fm(tensors: Tensors) -> Wave:
    return replace(ECG_FM, layers=max(1, depth(tensors, r"encoder\.layers\.(\d+)\.", "layer")), reads_hz=500)


def _hubert(tensors: Tensors) -> Wave:
    return replace(HUBERT_ECG, layers=max(1, depth(tensors, r"encoder\.layers\.(\d+)\.", "layer")))


def _shape(tensors: Tensors, name: str, ndim: int) -> tuple[int, ...]:
    if name not in tensors or tensors[name].ndim != ndim:
        raise ValueError(f"checkpoint lacks the tensor {name} of {ndim} axes")
    return tuple(tensors[name].shape)


ECGFOUNDER = Family(
    "ECGFounder",
    "MIT",
    "12_lead_ECGFounder.pth",
    "first_conv.conv.weight",
    (
        (rf"first_conv\.conv\.{_BOTH}", r"stem.\1"),
        (rf"stage_list\.(\d+)\.block_list\.(\d+)\.conv([123])\.conv\.{_BOTH}", r"stages.\1.\2.conv\3.\4"),
        (rf"stage_list\.(\d+)\.block_list\.(\d+)\.se_fc1\.{_BOTH}", r"stages.\1.\2.squeeze.\3"),
        (rf"stage_list\.(\d+)\.block_list\.(\d+)\.se_fc2\.{_BOTH}", r"stages.\1.\2.excite.\3"),
    ),
    _ecgfounder,
    idle=(r"first_bn\..*", r"stage_list\..*\.bn[123]\..*"),
    heads=("dense",),
)
HEARTLANG = Family(
    "HeartLang",
    "MIT",
    "HeartLang's checkpoint-200.pth",
    "token_embed.tokenConv.weight",
    (
        (r"token_embed\.tokenConv\.weight", "word.weight"),
        (r"mask_token", "mask_token"),
        (r"cls_token", "class_token"),
        (r"pos_embed", "position"),
        (r"spa_embed\.embed\.weight", "lead.weight"),
        (r"tem_embed\.embed\.weight", "second.weight"),
        (rf"norm_layer\.{_BOTH}", r"norm.\1"),
        (rf"transformer\.layers\.(\d+)\.0\.norm\.{_BOTH}", r"layers.\1.norm1.\2"),
        (r"transformer\.layers\.(\d+)\.0\.to_qkv\.weight", r"layers.\1.qkv.weight"),
        (rf"transformer\.layers\.(\d+)\.0\.to_out\.0\.{_BOTH}", r"layers.\1.project.\2"),
        (rf"transformer\.layers\.(\d+)\.1\.net\.0\.{_BOTH}", r"layers.\1.norm2.\2"),
        (rf"transformer\.layers\.(\d+)\.1\.net\.1\.{_BOTH}", r"layers.\1.expand.\2"),
        (rf"transformer\.layers\.(\d+)\.1\.net\.4\.{_BOTH}", r"layers.\1.contract.\2"),
    ),
    _heartlang,
    idle=(r"lm_head\..*",),
    heads=("mlp_head",),
    pretraining=("lm_head",),
)
RIBEIRO_PYTORCH = Family(
    "Ribeiro's ResNet (PyTorch)",
    "MIT",
    "model.pth of Zenodo 4892365",
    "resblock1d_0.conv1.weight",
    (
        (r"conv1\.weight", "stem.weight"),
        (rf"bn1\.{_NORM}", r"stem_norm.\1"),
        (r"resblock1d_(\d+)\.conv([12])\.weight", r"blocks.\1.conv\2.weight"),
        (rf"resblock1d_(\d+)\.bn([12])\.{_NORM}", r"blocks.\1.norm\2.\3"),
        (r"resblock1d_(\d+)\.skip_connection\.[01]\.weight", r"blocks.\1.project.weight"),
    ),
    _ribeiro,
    heads=("lin",),
)
# Keras numbers layers as they are made: the stem's, then of each block the skip's and the two wide ones.
_KERAS_CONVOLUTIONS = ("stem", *(f"blocks.{i}.{part}" for i in range(4) for part in ("project", "conv1", "conv2")))
_KERAS_NORMS = ("stem_norm", *(f"blocks.{i}.{part}" for i in range(4) for part in ("norm1", "norm2")))
_KERAS_NAMES = (
    *((rf"conv1d{f'_{i}' if i else ''}\.weight", f"{ours}.weight") for i, ours in enumerate(_KERAS_CONVOLUTIONS)),
    *((rf"batch_normalization{f'_{i}' if i else ''}\.{_NORM}", rf"{ours}.\1") for i, ours in enumerate(_KERAS_NORMS)),
)
_KERAS_MARK = "batch_normalization_8.running_mean"
RIBEIRO_TENSORFLOW = Family(
    "Ribeiro's ResNet (Keras)",
    "MIT",
    "model.hdf5 of Zenodo 3625017",
    _KERAS_MARK,
    _KERAS_NAMES,
    partial(_keras, RIBEIRO_KERAS),
    heads=("dense",),
    labels=("1dAVb", "RBBB", "LBBB", "SB", "AF", "ST"),
    when=_is_flattened,
)
PCLR_TENSORFLOW = Family(
    "PCLR",
    "BSD-3-Clause",
    "PCLR.h5 of broadinstitute/ml4h, model_zoo/PCLR",
    _KERAS_MARK,
    _KERAS_NAMES,
    partial(_keras, PCLR),
    idle=(r"(?!conv1d|batch_normalization).*",),  # its projections
    when=lambda tensors: not _is_flattened(tensors),
)
MERL_RESNET = Family(
    "MERL ResNet18",
    "MIT",
    "the encoder of MERL's ResNet18, ..._encoder.pth",
    "layer1.0.conv1.weight",
    (
        (r"conv1\.weight", "stem.weight"),
        (rf"bn1\.{_NORM}", r"stem_norm.\1"),
        *(
            (rf"layer{stage}\.{i}\.conv([12])\.weight", rf"blocks.{2 * (stage - 1) + i}.conv\1.weight")
            for stage in (1, 2, 3, 4)
            for i in (0, 1)
        ),
        *(
            (rf"layer{stage}\.{i}\.bn([12])\.{_NORM}", rf"blocks.{2 * (stage - 1) + i}.norm\1.\2")
            for stage in (1, 2, 3, 4)
            for i in (0, 1)
        ),
        *(
            (rf"layer{stage}\.0\.shortcut\.([01])\.{_NORM}", rf"blocks.{2 * (stage - 1)}.shortcut.\1.\2")
            for stage in (2, 3, 4)
        ),
    ),
    _merl_resnet,
    idle=(r"linear\..*",),  # of another size in each file, and random in an encoder's
)
MERL_VIT = Family(
    "MERL ViT-tiny",
    "MIT",
    "the encoder of MERL's ViT-tiny, ..._encoder.pth",
    "to_patch_embedding.weight",
    (
        (r"to_patch_embedding\.weight", "embed.weight"),
        (r"pos_embedding", "position"),
        (rf"norm\.{_BOTH}", r"norm.\1"),
        (rf"block(\d+)\.attn\.norm\.{_BOTH}", r"layers.\1.norm1.\2"),
        (rf"block(\d+)\.attn\.fn\.to_qkv\.{_BOTH}", r"layers.\1.qkv.\2"),
        (rf"block(\d+)\.attn\.fn\.to_out\.0\.{_BOTH}", r"layers.\1.project.\2"),
        (rf"block(\d+)\.ff\.norm\.{_BOTH}", r"layers.\1.norm2.\2"),
        (rf"block(\d+)\.ff\.fn\.net\.0\.{_BOTH}", r"layers.\1.expand.\2"),
        (rf"block(\d+)\.ff\.fn\.net\.3\.{_BOTH}", r"layers.\1.contract.\2"),
    ),
    _merl_vit,
    idle=(r"head\..*",),
)


def _wave_names(
    convolution: str,
    first_norm: str,
    token_norm: str,
    token: str,
    position: str,
    *,
    attention: str,
    norm: str,
    expand: str,
    contract: str,
) -> tuple[tuple[str, str], ...]:
    """What a wave encoder's tensors are called, whose originals differ in what they call these parts."""
    layer = r"encoder\.layers\.(\d+)"
    return (
        (rf"feature_extractor\.conv_layers\.(\d+)\.{convolution}\.weight", r"convolutions.\1.weight"),
        (rf"feature_extractor\.conv_layers\.0\.{first_norm}\.{_BOTH}", r"first_norm.\1"),
        (rf"{token_norm}\.{_BOTH}", r"token_norm.\1"),
        (rf"{token}\.{_BOTH}", r"token.\1"),
        (rf"{position}\.bias", "position.bias"),
        (rf"{position}\.(?:parametrizations\.weight\.original0|weight_g)", "position.length"),
        (rf"{position}\.(?:parametrizations\.weight\.original1|weight_v)", "position.direction"),
        (rf"encoder\.layer_norm\.{_BOTH}", r"norm.\1"),
        *(
            (rf"{layer}\.{attention}\.{theirs}_proj\.{_BOTH}", rf"layers.\1.{ours}.\2")
            for theirs, ours in (("q", "query"), ("k", "key"), ("v", "value"), ("out", "project"))
        ),
        *(
            (rf"{layer}\.{theirs}\.{_BOTH}", rf"layers.\1.{ours}.\2")
            for theirs, ours in (
                *((norm, "norm1"), ("final_layer_norm", "norm2")),
                *((expand, "expand"), (contract, "contract")),
            )
        ),
    )


FAIRSEQ_ECG_FM = Family(
    "ECG-FM",
    "MIT",
    "mimic_iv_ecg_physionet_pretrained.pt",
    "feature_extractor.conv_layers.0.0.weight",
    _wave_names(
        *("0", "2", "layer_norm", "post_extract_proj", r"conv_pos\.pos_conv\.0"),
        attention="self_attn",
        norm="self_attn_layer_norm",
        expand="fc1",
        contract="fc2",
    ),
    _ecg_fm,
    idle=(r"mask_emb", r"quantizer\..*", r"project_q\..*", r"final_proj\..*"),
    heads=("proj",),
    pretraining=("quantizer", "project_q", "final_proj"),
)
HUBERT = Family(
    "HuBERT-ECG",
    "CC BY-NC 4.0",
    "model.safetensors of HuBERT-ECG base",
    "feature_extractor.conv_layers.0.conv.weight",
    _wave_names(
        *("conv", "layer_norm", r"feature_projection\.layer_norm", r"feature_projection\.projection"),
        r"encoder\.pos_conv_embed\.conv",
        attention="attention",
        norm="layer_norm",
        expand=r"feed_forward\.intermediate_dense",
        contract=r"feed_forward\.output_dense",
    ),
    _hubert,
    idle=(r"masked_spec_embed", r"final_proj\..*", r"label_embedding\..*"),
    pretraining=("final_proj", "label_embedding"),
)

FAMILIES = (
    ECGFOUNDER,
    HEARTLANG,
    RIBEIRO_PYTORCH,
    RIBEIRO_TENSORFLOW,
    PCLR_TENSORFLOW,
    MERL_RESNET,
    MERL_VIT,
    FAIRSEQ_ECG_FM,
    HUBERT,
)
