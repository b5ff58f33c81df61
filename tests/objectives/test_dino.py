"""DINO's terms agree with slow references; crops, masks and schedules are as described; the teacher is the average."""

import copy
import math
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from ecgscale import data
from ecgscale.data.batches import Batch, Store
from ecgscale.data.recording import ABSENT_LEAD
from ecgscale.models import ViT
from ecgscale.models.vit import ViTBackbone
from ecgscale.objectives import DINO, Collapsed
from ecgscale.objectives.crops import MOST_HIDDEN, crop, disturbed, hidden_patches
from ecgscale.objectives.dino import DINOModule
from ecgscale.objectives.distillation import cross_entropy, gram, koleo, masked_patches, rank_of, sinkhorn_knopp
from ecgscale.spec.run import Schedule
from ecgscale.training.rates import rate_of

SMALL = DINO(n_prototypes=32, head_width=24, bottleneck=8, n_local=3, gram_from=0.5)


@pytest.fixture(scope="module")
def batch(home: Path) -> Batch:
    corpus = data.open_corpus("ptbxl-sample", home)
    return Store(corpus, corpus.rows("train")[:6]).batch(np.arange(6))


def built(description: DINO = SMALL) -> DINOModule:
    torch.manual_seed(0)
    module = description.build(ViT(2, 24, 2, layer_scale=0.3).build(), 0)
    assert isinstance(module, DINOModule)
    return module.train()


def draw(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def close(found: torch.Tensor | float, expected: torch.Tensor | float) -> None:
    torch.testing.assert_close(
        torch.as_tensor(found), torch.as_tensor(expected), rtol=1e-6, atol=1e-6, check_dtype=False
    )


def test_sinkhorn_knopp_uses_prototypes_equally() -> None:
    logits = torch.randn(12, 5, generator=draw())
    q = np.exp(logits.double().numpy() / 0.07)
    q /= q.sum()
    for _ in range(3):
        for k in range(5):
            q[:, k] /= q[:, k].sum() * 5
        for i in range(12):
            q[i] /= q[i].sum() * 12
    close(sinkhorn_knopp(logits, 0.07), torch.from_numpy(q * 12))


def test_cross_entropy_is_a_sum_over_prototypes() -> None:
    teacher, student = torch.rand(3, 4, generator=draw()).softmax(-1), torch.randn(3, 4, generator=draw(1))
    slow = []
    for t, s in zip(teacher.double(), student.double(), strict=True):
        weights = [math.exp(float(v) / 0.1) for v in s]
        slow.append(-sum(float(p) * math.log(w / sum(weights)) for p, w in zip(t, weights, strict=True)))
    close(cross_entropy(teacher, student, 0.1), torch.tensor(slow))


def test_koleo_is_the_distance_to_the_nearest() -> None:
    features = torch.randn(7, 5, generator=draw()).double()
    slow = 0.0
    unit = [f / f.norm() for f in features]
    for i, a in enumerate(unit):
        slow -= math.log(min(float((a - b).norm()) for j, b in enumerate(unit) if j != i) + 1e-8) / 7
    assert float(koleo(features.float())) == pytest.approx(slow, abs=1e-6)


def test_terms_that_compare_directions_are_float32_under_autocast() -> None:
    near = torch.randn(1, 16, generator=draw()) + 1e-3 * torch.randn(40, 16, generator=draw(1))
    local, anchor = near.view(2, 20, 16), near.view(2, 20, 16) + 1e-2 * torch.randn(2, 20, 16, generator=draw(2))
    there = torch.ones(2, 20, dtype=torch.bool)
    plain = koleo(near), gram(local, anchor, there)
    with torch.autocast("cpu", torch.bfloat16):
        low = koleo(near), gram(local, anchor, there)
    assert plain == low


def test_hidden_patches_weigh_the_same_within_a_crop() -> None:
    hidden = torch.tensor([[True, False, True], [False, False, False], [False, True, False]])
    teacher, student = torch.rand(3, 4, generator=draw()).softmax(-1), torch.randn(3, 4, generator=draw(1))
    each = cross_entropy(teacher, student, 0.1)
    close(masked_patches(teacher, student, hidden, 0.1), ((each[0] + each[1]) / 2 + each[2]) / 3)


def test_gram_compares_similarities_of_patches_that_are_there() -> None:
    student, anchor = torch.randn(2, 3, 4, generator=draw()), torch.randn(2, 3, 4, generator=draw(1))
    present = torch.tensor([[True, True, False], [True, True, True]])
    total, n = 0.0, 0
    for r in range(2):
        for i in range(3):
            for j in range(3):
                if present[r, i] and present[r, j]:
                    mine = torch.cosine_similarity(student[r, i], student[r, j], 0)
                    theirs = torch.cosine_similarity(anchor[r, i], anchor[r, j], 0)
                    total, n = total + float((mine - theirs) ** 2), n + 1
    close(gram(student, anchor, present), total / n)


def test_rank_counts_directions() -> None:
    assert rank_of(torch.ones(20, 8)) == pytest.approx(1.0, abs=1e-4)
    assert rank_of(torch.eye(8)) == pytest.approx(8.0, abs=1e-4)


def test_the_loss_adds_up_from_references(batch: Batch) -> None:
    """All terms again from the tensors that the parts put out, pair by pair, with DINOv3's weights."""
    module = built(SMALL)
    module.begin(5, 10)
    seen: dict[str, list[torch.Tensor]] = {}

    def note(name: str):  # type: ignore[no-untyped-def]
        return lambda _, given, out: seen.setdefault(name, []).extend((given[0], out))

    module.head.register_forward_hook(note("head"))
    module.patch_head.register_forward_hook(note("patch head"))
    module.teacher.head.register_forward_hook(note("teacher"))
    module.teacher.patch_head.register_forward_hook(note("patch teacher"))
    encodings = watched(module)
    terms = module.terms(batch, draw())
    n = len(batch.signal)
    pooled, says, _, locally = seen["head"]
    target = sinkhorn_knopp(seen["teacher"][1], module.teacher_temperature)
    values = []
    for i in range(2):
        for j in range(2):
            if i != j:
                values.append(cross_entropy(target[i * n : i * n + n], says[j * n : j * n + n], 0.1).mean())
        for j in range(3):
            values.append(cross_entropy(target[i * n : i * n + n], locally[j * n : j * n + n], 0.1).mean())
    assert len(values) == 2 + 6
    close(terms["dino"], sum(values) / len(values))  # type: ignore[arg-type]
    assert set(terms) == {"dino", "ibot", "koleo", "gram"}
    close(terms["koleo"], 0.1 * 2 * (koleo(pooled[:n]) + koleo(pooled[n:])) / 2)

    masked, student = encodings["student"][0]
    assert masked.masked is not None
    target_patches = sinkhorn_knopp(seen["patch teacher"][1], module.teacher_temperature)
    close(terms["ibot"], masked_patches(target_patches, seen["patch head"][1], masked.masked, 0.1))
    (_, anchor), (taught, _) = encodings["anchor"][0], encodings["teacher"][0]
    close(terms["gram"], 2.0 * gram(student.local, anchor.local, masked.lead != ABSENT_LEAD))
    assert taught.masked is None  # the teacher sees all there is
    assert set(module.eval().terms(batch, draw())) == {"dino", "ibot", "koleo"}
    module.train().begin(4, 10)
    assert set(module.terms(batch, draw())) == {"dino", "ibot", "koleo"}


class Seen(NamedTuple):
    """What a backbone was given."""

    samples: torch.Tensor
    lead: torch.Tensor
    seconds: torch.Tensor
    masked: torch.Tensor | None


def watched(module: DINOModule) -> dict[str, list[tuple[Seen, Any]]]:
    """What student, teacher and anchor are given from now on, and what they make of it."""
    calls: dict[str, list[tuple[Seen, Any]]] = {}
    assert module.anchor is not None

    def watch(name: str, backbone: ViTBackbone) -> None:
        encode = backbone.encode

        def told(*inputs: torch.Tensor, masked: torch.Tensor | None = None) -> Any:
            made = encode(*inputs, masked=masked)
            calls.setdefault(name, []).append((Seen(inputs[0], inputs[1], inputs[2], masked), made))
            return made

        backbone.encode = told  # type: ignore[method-assign]

    for name, backbone in (
        ("student", module.backbone),
        ("teacher", module.teacher.backbone),
        ("anchor", module.anchor),
    ):
        watch(name, backbone)
    return calls


def test_views_are_disturbed_each_by_itself_and_the_teachers_less(batch: Batch) -> None:
    """Of a view that is a x + noise, what does not go with x tells the ratio; the anchor sees x."""
    module = built(replace(SMALL, noise=("em",), noise_probability=1.0, snr_db=(6.0, 6.0)))
    module.begin(5, 10)
    calls = watched(module)
    ratios: dict[str, list[torch.Tensor]] = {"student": [], "teacher": []}
    for i in range(8):
        calls.clear()
        module.terms(batch, draw(i))
        (clean, _), there = calls["anchor"][0], calls["anchor"][0][0].lead != ABSENT_LEAD
        assert not torch.equal(calls["student"][0][0].samples, calls["teacher"][0][0].samples)
        x = clean.samples[there] - clean.samples[there].mean()
        for name, found in ratios.items():
            view = calls[name][0][0].samples[there]
            rest = view - view.mean() - (view * x).sum() / x.square().sum() * x
            found.append(10 * (x.square().mean() / rest.square().mean()).log10())
    student, teacher = (float(torch.stack(ratios[name]).mean()) for name in ("student", "teacher"))
    assert teacher - student == pytest.approx(6.0, abs=1.0)


def test_the_teacher_is_the_moving_average(batch: Batch) -> None:
    module = built()
    before = copy.deepcopy(module.teacher.state_dict())
    optimiser = torch.optim.SGD([p for p in module.parameters() if p.requires_grad], 0.1)
    module.begin(2, 8)
    module(batch, draw()).mean.backward()
    assert all(p.grad is None for p in module.teacher.parameters())
    optimiser.step()
    module.end()
    keep = 1 - (1 - 0.992) * 0.5 * (1 + math.cos(math.pi * 2 / 8))
    students = dict(module.named_parameters())
    for name, theirs in module.teacher.named_parameters():
        close(theirs.detach(), keep * before[name] + (1 - keep) * students[name].detach())


def test_prototypes_stay_as_drawn_for_one_step_in_a_hundred(batch: Batch) -> None:
    """The student's and with them the teacher's; all else moves, and afterwards they do too."""
    module = built()
    optimiser = torch.optim.AdamW([p for p in module.parameters() if p.requires_grad], 1e-2)
    for step, still in ((0, True), (1, True), (2, False)):
        before = copy.deepcopy(module.state_dict())
        module.begin(step, 200)
        optimiser.zero_grad()
        module(batch, draw()).mean.backward()
        optimiser.step()
        module.end()
        for name in ("head", "patch_head"):
            after = module.state_dict()
            assert torch.equal(after[f"{name}.prototypes.weight"], before[f"{name}.prototypes.weight"]) == still
            assert not torch.equal(after[f"{name}.project.0.weight"], before[f"{name}.project.0.weight"])
            close(after[f"teacher.{name}.prototypes.weight"], after[f"{name}.prototypes.weight"]) if still else None


def test_schedules_run_as_described() -> None:
    module = built()
    module.begin(0, 100)
    assert (module.momentum, module.teacher_temperature) == (pytest.approx(0.992), pytest.approx(0.04))
    module.begin(15, 100)
    assert module.teacher_temperature == pytest.approx(0.055)
    module.begin(100, 100)
    assert (module.momentum, module.teacher_temperature) == (pytest.approx(1.0), pytest.approx(0.07))


def test_crops_are_stretches_of_leads_that_are_there(batch: Batch) -> None:
    leads = batch.leads.clone()
    leads[0, 1:] = ABSENT_LEAD
    cut, numbers = crop(batch.signal, leads, 200, 4, 0.0, draw())
    assert cut.shape == (6, 4, 200)
    assert numbers[0].tolist() == [1, 0, 0, 0]
    assert (numbers[1:] > 0).all()
    for row, number in zip(cut[2], numbers[2], strict=True):
        whole = batch.signal[2, int(number) - 1]
        assert any(torch.equal(whole[i : i + 200], row) for i in range(801))
    assert not cut[0, 1:].any()
    every, numbers = crop(batch.signal, batch.leads, 600, 2, 0.5, draw(3))
    assert every.shape == (6, 12, 600)
    assert set((numbers > 0).sum(1).tolist()) == {2, 12}


def test_global_crops_may_all_have_every_lead(batch: Batch) -> None:
    seen: list[torch.Tensor] = []
    module = built(replace(SMALL, all_leads=1.0, n_local=0))
    encode = module.backbone.encode

    def watched(*inputs: torch.Tensor, masked: torch.Tensor | None = None):  # type: ignore[no-untyped-def]
        seen.append(inputs[1])
        return encode(*inputs, masked=masked)

    module.backbone.encode = watched  # type: ignore[method-assign]
    for i in range(5):
        module.terms(batch, draw(i))
    assert not any((leads == ABSENT_LEAD).any() for leads in seen)
    assert len(seen) == 5


def test_narrow_heads_and_backbones_may_start_wider() -> None:
    """Deviation one over the root of the inputs keeps the size of what goes through; 0.02 loses it in narrow layers."""
    torch.manual_seed(0)
    wide = ViT(2, 64, 2, patch=50, init_std=None).build()
    heads = replace(SMALL, head_width=256, bottleneck=64, init_std=None).build(wide, 0)
    for module in heads.modules():
        if isinstance(module, torch.nn.Linear):
            assert float(module.weight.detach().std()) == pytest.approx(module.in_features**-0.5, rel=0.12)
    assert float(ViTBackbone(ViT(2, 64, 2)).embed.weight.detach().std()) == pytest.approx(0.02, rel=0.1)


def test_hidden_patches_are_blocks_at_the_drawn_ratio() -> None:
    lead = torch.arange(1, 13).repeat_interleave(40).expand(400, -1)
    hidden = hidden_patches(lead, 40, (0.3, 0.3), 0.5, draw())
    masked = hidden.any(1)
    assert masked.float().mean() == pytest.approx(0.5, abs=0.07)
    expected = 0.3 * 0.9 + 0.1  # blocks, and now and then a whole lead; blocks at the edge are cut off
    assert hidden[masked].float().mean() == pytest.approx(expected, abs=0.03)
    crops = hidden[masked].view(-1, 12, 40)
    alone = crops[..., 1:-1] & ~crops[..., :-2] & ~crops[..., 2:]
    uncut = crops.flatten(1).float().mean(1) < MOST_HIDDEN - 0.01
    assert uncut.float().mean() > 0.85
    assert not alone[uncut].any()  # blocks are of two patches at least
    assert crops.all(-1).float().mean() == pytest.approx(0.1, abs=0.02)
    absent = hidden_patches(lead.where(lead < 3, ABSENT_LEAD), 40, (0.3, 0.3), 1.0, draw())
    assert not absent[:, 80:].any()


def test_no_crop_is_hidden_above_half() -> None:
    lead = torch.arange(1, 13).repeat_interleave(16).expand(2000, -1).clone()
    lead[1000:, 80:] = ABSENT_LEAD
    hidden = hidden_patches(lead, 16, (0.1, 0.5), 1.0, draw())
    share = hidden.sum(1) / (lead != ABSENT_LEAD).sum(1)
    assert float(share.max()) <= 0.5
    assert (share > 0.49).float().mean() > 0.04  # those that were cut
    crops = hidden.view(-1, 12, 16)
    alone = crops[..., 1:-1] & ~crops[..., :-2] & ~crops[..., 2:]
    assert alone.flatten(1).sum(1).max() <= 2  # a cut leaves at most a piece of a block at both of its ends


def test_noise_is_added_at_the_drawn_ratio(batch: Batch) -> None:
    module = built()
    noise = module._noise[True]
    clean = batch.signal
    noisy = disturbed(clean, noise, ("em",), 1.0, (6.0, 6.0), (1.0, 1.0), draw())
    ratio = 10 * torch.log10(clean.var(-1) / (noisy - clean).var(-1))
    torch.testing.assert_close(ratio, torch.full_like(ratio, 6.0), rtol=1e-3, atol=1e-3)
    assert torch.equal(disturbed(clean, noise, ("em",), 0.0, (6.0, 6.0), (1.0, 1.0), draw()), clean)
    assert torch.equal(disturbed(clean, noise, (), 1.0, (6.0, 6.0), (1.0, 1.0), draw()), clean)
    many = clean.repeat(50, 1, 1)
    added = disturbed(many, noise, ("em",), 1.0, (6.0, 6.0), (1.0, 1.0), draw(), (0.25, -6.0)) - many
    ratio = (10 * torch.log10(many.var(-1) / added.var(-1))).mean(-1).round()
    assert set(ratio.tolist()) == {6.0, -6.0}
    assert (ratio < 0).float().mean() == pytest.approx(0.25, abs=0.08)
    with pytest.raises(ValueError, match="no noise 'hum'"):
        DINO(noise=("hum",))
    with pytest.raises(ValueError, match=r"hard_noise in \[0, 1\]"):
        DINO(hard_noise=5.0)


def test_hard_noise_is_in_the_views(batch: Batch) -> None:
    signal, views = batch.signal, []
    for share in (0.0, 1.0):
        module = built(replace(SMALL, noise=("em",), noise_probability=1.0, snr_db=(60.0, 60.0), hard_noise=share))
        views.append([module._noisy(signal, quieter, draw(1)).var() / signal.var() for quieter in (0.0, 6.0)])
    assert max(views[0]) < 1.7  # amplitude alone
    assert views[1][0] > views[1][1] > 1.7


def test_a_students_seconds_are_stretched_and_nobody_elses(batch: Batch) -> None:
    module = built(replace(SMALL, time_jitter=1.5))
    module.begin(5, 10)
    calls = watched(module)
    for i in range(4):
        module.terms(batch, draw(i))
    told = {name: [given.seconds for given, _ in made] for name, made in calls.items()}
    factors = torch.cat([s[:, 0] / 0.125 for s in told["student"]])  # of the first patch's middle
    assert 1 / 1.5 <= float(factors.min()) < 0.8
    assert 1.25 < float(factors.max()) <= 1.5
    assert float(factors.log().mean()) == pytest.approx(0.0, abs=0.08)
    assert all((s[:, 0] == 0.125).all() for name in ("teacher", "anchor") for s in told[name])
    for seconds in told["student"]:
        middles = seconds / seconds[:, :1]
        torch.testing.assert_close(middles[:1].expand(len(middles), -1), middles)  # in themselves crops stay even
    calls.clear()
    module.eval().terms(batch, draw())
    assert all((given.seconds[:, 0] == 0.125).all() for given, _ in calls["student"])
    with pytest.raises(ValueError, match="time_jitter is at least 1"):
        DINO(time_jitter=0.5)


def test_the_anchor_is_the_teacher_of_when_it_began_and_of_three_times_after() -> None:
    module = built(replace(SMALL, gram_from=0.8))
    assert module.anchor is not None
    taken, weight = [], module.teacher.backbone.embed.weight
    for step in range(100, 1000):
        with torch.no_grad():
            weight.fill_(step)
        module.begin(step, 1000)
        if module.anchor.embed.weight[0, 0] == step:
            taken.append(step)
    assert taken == [800, 810, 820, 830]


def test_a_collapsed_student_is_detected(batch: Batch) -> None:
    module = built()
    module.begin(9, 10)
    with torch.no_grad():
        module.teacher.backbone.prefix.zero_()  # what is left of the class token is about the recording
        module.teacher.head.prototypes.weight.mul_(100)  # as sure of itself as a trained one
    healthy = module.health(batch)
    assert healthy["feature_rank"] > 1
    assert healthy["information"] > 0.01
    with torch.no_grad():
        module.teacher.backbone.norm.weight.zero_()
    with pytest.raises(Collapsed, match="features collapsed: at step 9"):
        module.health(batch)


def test_parameters_are_grouped_by_depth_and_kind() -> None:
    module = built()
    groups = module.groups()
    counted = sum(p.numel() for g in groups for p in g.parameters)
    assert counted == sum(p.numel() for p in built().parameters() if p.requires_grad)
    rates = {round(g.lr, 6) for g in groups if g.clipped_with == "backbone"}
    assert rates == {1.0, 0.9, 0.81, 0.729, round(0.729 * 0.2, 6)}
    rate = {id(p): g.lr for g in groups for p in g.parameters}
    names = {"norm.weight": 1.0, "layers.1.gain1": 0.9, "layers.0.qkv.weight": 0.81, "prefix": 0.729}
    for name, expected in names.items():
        assert rate[id(module.backbone.get_parameter(name))] == pytest.approx(expected)
    assert {g.lr for g in groups if g.clipped_with != "backbone"} == {1.0}
    assert {g.weight_decay for g in groups} == {0.0, 1.0}
    decay = {id(p): g.weight_decay for g in groups for p in g.parameters}
    decayed = {name for name, p in module.backbone.named_parameters() if decay[id(p)]}
    assert decayed == {name for name, p in module.backbone.named_parameters() if p.ndim > 1} | {"mask_token"}


def test_norms_and_warm_up_are_dinov3s() -> None:
    assert {m.eps for m in built().modules() if isinstance(m, torch.nn.LayerNorm)} == {1e-6}
    rate = rate_of(Schedule(steps=1000), DINO.optimiser)
    rates = [rate(1000, 1.0, step) for step in range(1000)]
    assert rates.index(max(rates)) in (99, 100)  # 10 of its 100 epochs
