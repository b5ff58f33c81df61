"""The codebook: the quantiser as HeartLang describes it, and its published checkpoint under its own names."""

import argparse
import hashlib
import math
import random
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from ecgscale import data
from ecgscale.data.beats import BEAT_SAMPLES, Sentence
from ecgscale.data.corpus import Slice
from ecgscale.models import Codebook, CodebookModule, Transformer, published
from ecgscale.objectives import Masked, decayed_apart
from ecgscale.pricing import calibration
from ecgscale.pricing.obstacles import unlaunchable
from ecgscale.spec.run import Run
from ecgscale.spec.sweep import Sweep
from ecgscale.training import codebooks, train
from tests.descriptions import described
from tests.faults import fill
from tests.runs import TINY_CODEBOOK
from tests.shell import Shell

Tensors = dict[str, torch.Tensor]


def checkpoint(
    n_codes: int, code_width: int, width: int, layers: int, decoder_layers: int, heads: int, ffn: int, n_tokens: int
) -> Tensors:
    """Random tensors under the names and shapes of HeartLang's VQ-HBR (modeling_vqhbr.py, backbone_vqhbr.py)."""
    draw, inner = torch.Generator().manual_seed(0), 64 * heads

    def some(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=draw) / math.sqrt(shape[-1])

    tensors: Tensors = {}
    for part, n_in, depth in (("encoder", BEAT_SAMPLES, layers), ("decoder", code_width, decoder_layers)):
        tensors[f"{part}.mask_token"] = torch.zeros(1, 1, width)
        tensors[f"{part}.cls_token"] = some(width)
        tensors[f"{part}.pos_embed"] = some(1, n_tokens + 1, width)
        tensors[f"{part}.token_embed.tokenConv.weight"] = some(width, n_in, 3)
        tensors[f"{part}.spa_embed.embed.weight"] = some(16, width)
        tensors[f"{part}.tem_embed.embed.weight"] = some(16, width)
        for i in range(depth):
            at = f"{part}.transformer.layers.{i}"
            tensors |= {f"{at}.0.norm.weight": 1 + some(width), f"{at}.0.norm.bias": some(width)}
            tensors[f"{at}.0.to_qkv.weight"] = some(3 * inner, width)
            tensors |= {f"{at}.0.to_out.0.weight": some(width, inner), f"{at}.0.to_out.0.bias": some(width)}
            tensors |= {f"{at}.1.net.0.weight": 1 + some(width), f"{at}.1.net.0.bias": some(width)}
            tensors |= {f"{at}.1.net.1.weight": some(ffn, width), f"{at}.1.net.1.bias": some(ffn)}
            tensors |= {f"{at}.1.net.4.weight": some(width, ffn), f"{at}.1.net.4.bias": some(width)}
        tensors |= {f"{part}.norm_layer.weight": 1 + some(width), f"{part}.norm_layer.bias": some(width)}
    tensors["quantize.cluster_size"] = torch.zeros(n_codes)
    tensors["quantize.embedding.initted"] = torch.ones(1)
    tensors["quantize.embedding.weight"] = F.normalize(some(n_codes, code_width), dim=1)
    tensors["quantize.embedding.cluster_size"] = torch.zeros(n_codes)
    tensors["quantize.embedding.embed_avg"] = torch.zeros(n_codes, code_width)
    for head, n_out in (("encode_task_layer", code_width), ("decode_task_layer", BEAT_SAMPLES)):
        tensors |= {f"{head}.0.weight": some(width, width), f"{head}.0.bias": some(width)}
        tensors |= {f"{head}.2.weight": some(n_out, width), f"{head}.2.bias": some(n_out)}
    return tensors


def small() -> Tensors:
    return checkpoint(n_codes=40, code_width=8, width=24, layers=2, decoder_layers=1, heads=2, ffn=32, n_tokens=20)


def spoken(n_words: list[int], n_tokens: int = 20) -> Sentence:
    draw = torch.Generator().manual_seed(2)
    real = torch.arange(n_tokens) < torch.tensor(n_words)[:, None]
    words = torch.randn(len(n_words), n_tokens, BEAT_SAMPLES, generator=draw) * real[..., None]
    lead = torch.randint(1, 13, real.shape, generator=draw) * real
    second = torch.randint(1, 12, real.shape, generator=draw) * real
    return Sentence(words, lead, second)


def backbone(
    t: Tensors, part: str, x: torch.Tensor, lead: torch.Tensor | None, second: torch.Tensor | None
) -> torch.Tensor:
    """HeartLang's backbone on one sentence [n_tokens, n_in], written out under the published names."""
    kernel = t[f"{part}.token_embed.tokenConv.weight"]  # circular over the words
    n = len(x)
    rows = [sum(kernel[:, :, k] @ x[(i + k - 1) % n] for k in range(3)) for i in range(n)]
    h = torch.stack([row for row in rows if isinstance(row, torch.Tensor)])
    if lead is not None and second is not None:
        h = h + t[f"{part}.spa_embed.embed.weight"][lead] + t[f"{part}.tem_embed.embed.weight"][second]
    h = torch.cat([t[f"{part}.cls_token"][None], h]) + t[f"{part}.pos_embed"][0]
    i = 0
    while f"{part}.transformer.layers.{i}.0.norm.weight" in t:
        at = f"{part}.transformer.layers.{i}"
        z = layer_norm(h, t[f"{at}.0.norm.weight"], t[f"{at}.0.norm.bias"])
        query, key, value = (z @ t[f"{at}.0.to_qkv.weight"].T).chunk(3, 1)
        heads = []
        for q, k, v in zip(query.split(64, 1), key.split(64, 1), value.split(64, 1), strict=True):
            weight = (q @ k.T / 8).exp()
            heads.append(weight / weight.sum(1, keepdim=True) @ v)
        h = h + torch.cat(heads, 1) @ t[f"{at}.0.to_out.0.weight"].T + t[f"{at}.0.to_out.0.bias"]
        z = layer_norm(h, t[f"{at}.1.net.0.weight"], t[f"{at}.1.net.0.bias"])
        z = z @ t[f"{at}.1.net.1.weight"].T + t[f"{at}.1.net.1.bias"]
        z = z * (1 + torch.erf(z / math.sqrt(2))) / 2
        h = h + z @ t[f"{at}.1.net.4.weight"].T + t[f"{at}.1.net.4.bias"]
        i += 1
    h = layer_norm(h, t[f"{part}.norm_layer.weight"], t[f"{part}.norm_layer.bias"])[1:]
    return torch.where((x == 0).all(1, keepdim=True), 0.0, h)


def layer_norm(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    centred = x - x.mean(1, keepdim=True)
    return weight * centred / (centred.square().mean(1, keepdim=True) + 1e-5).sqrt() + bias


def head(t: Tensors, name: str, x: torch.Tensor) -> torch.Tensor:
    hidden = torch.tanh(x @ t[f"{name}.0.weight"].T + t[f"{name}.0.bias"])
    return hidden @ t[f"{name}.2.weight"].T + t[f"{name}.2.bias"]


def slow_codes(t: Tensors, x: torch.Tensor, lead: torch.Tensor | None, second: torch.Tensor | None) -> torch.Tensor:
    """Nearest code of every word by squared distance, padding among them."""
    z = head(t, "encode_task_layer", backbone(t, "encoder", x, lead, second))
    z = z / z.norm(dim=1, keepdim=True)
    return torch.stack([(word - t["quantize.embedding.weight"]).square().sum(1).argmin() for word in z])


def double(tensors: Tensors) -> Tensors:
    return {name: tensor.double() for name, tensor in tensors.items()}


@pytest.fixture
def imported(tmp_path: Path) -> tuple[CodebookModule, Codebook]:
    file = tmp_path / "vqhbr.pth"
    torch.save({"model": small(), "epoch": 99, "args": argparse.Namespace(model="vqhbr", lr=5e-5)}, file)
    recipe = codebooks.adopt_file(file, tmp_path)
    return codebooks.read(recipe, tmp_path)[0], recipe


def test_imported_codes_are_the_published_definition(imported: tuple[CodebookModule, Codebook]) -> None:
    """Also of padded sentences, and without ids, as HeartLang's masked stage looks them up."""
    book, t, said = imported[0].double(), double(small()), spoken([20, 13, 1])
    book.double()
    said = said._replace(words=said.words.double())
    with_ids, without = book.label(said), book.label(said, ids=False)
    for n in range(3):
        assert torch.equal(with_ids[n], slow_codes(t, said.words[n], said.lead[n], said.second[n]))
        assert torch.equal(without[n], slow_codes(t, said.words[n], None, None))
    assert len(with_ids[0].unique()) > 5
    assert not torch.equal(with_ids, without)


def test_an_imported_codebook_reconstructs_as_published(imported: tuple[CodebookModule, Codebook]) -> None:
    book, t, said = imported[0].double().eval(), double(small()), spoken([20])
    said = said._replace(words=said.words.double())
    x, lead, second = said.words[0], said.lead[0], said.second[0]
    z = head(t, "encode_task_layer", backbone(t, "encoder", x, lead, second))
    z = z / z.norm(dim=1, keepdim=True)
    quantised = t["quantize.embedding.weight"][slow_codes(t, x, lead, second)]
    rebuilt = head(t, "decode_task_layer", backbone(t, "decoder", quantised, lead, second))
    made = book(said)
    assert float(made.reconstruction) == pytest.approx(float((rebuilt - x).square().mean()), rel=1e-9)
    assert float(made.loss - made.reconstruction) == pytest.approx(float((quantised - z).square().mean()), rel=1e-6)


def test_an_import_is_part_of_the_identity(imported: tuple[CodebookModule, Codebook], tmp_path: Path) -> None:
    recipe = imported[1]
    assert recipe.imported == hashlib.sha256((tmp_path / "vqhbr.pth").read_bytes()).hexdigest()
    assert recipe == Codebook("mimic", 40, 8, 2, 1, 24, 2, 32, n_tokens=20, unit="mv", imported=recipe.imported)
    assert eval(codebooks.as_typed(recipe), {"Codebook": Codebook}) == recipe
    architecture = Transformer(1, 8, 1, 16, n_tokens=20)
    run, other = (
        Run(architecture, Masked(book), Slice("code")) for book in (recipe, replace(recipe, imported="0" * 64))
    )
    assert recipe.imported in run.description
    assert described(run.description) == run
    assert run.run_id != other.run_id
    with pytest.raises(ValueError, match="imported, not trained; run: ecgscale codebook import FILE"):
        codebooks.train(recipe, tmp_path, lambda at: None)
    with pytest.raises(FileNotFoundError, match="codebook import FILE, with the file of SHA-256 000000"):
        codebooks.read(replace(recipe, imported="0" * 64), tmp_path)


def without(name: str) -> Callable[[Tensors], None]:
    return lambda tensors: tensors.__delitem__(name)


def renamed(name: str, new: str) -> Callable[[Tensors], None]:
    return lambda tensors: tensors.__setitem__(new, tensors.pop(name))


def replaced(name: str, tensor: torch.Tensor) -> Callable[[Tensors], None]:
    return lambda tensors: tensors.__setitem__(name, tensor)


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (without("decode_task_layer.2.bias"), r"has no tensor 'decode_task_layer.2.bias'"),
        (
            renamed("encoder.norm_layer.weight", "encoder.norm_layr.weight"),
            "the nearest it has is 'encoder.norm_layr.w",
        ),
        (
            replaced("encoder.lm_head.weight", torch.zeros(3)),
            "has 63 tensors, of which VQ-HBR does not know 'encoder.lm_",
        ),
        (replaced("decoder.cls_token", torch.zeros(25)), r"'decoder.cls_token' has shape \[25\], expected \[24\]"),
        (replaced("encoder.cls_token", torch.full((24,), math.nan)), "'encoder.cls_token' holds what is no number"),
        (replaced("quantize.embedding.weight", torch.zeros(40, 8)), "not of length 1"),
        (
            replaced("encoder.transformer.layers.99999999.0.norm.weight", torch.zeros(3)),
            "has a layer 99999999 in its encoder, and 3 layers",
        ),
        (
            replaced("decoder.cls_token", torch.zeros(1).expand(10**12)),
            r"of shape \[1000000000000\], for which it does",
        ),
    ],
)
def test_another_checkpoint_is_refused_in_a_sentence(
    spoil: Callable[[Tensors], None], sentence: str, tmp_path: Path
) -> None:
    tensors = small()
    spoil(tensors)
    torch.save({"state_dict": tensors}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=rf"^other\.pth .*{sentence}") as raised:
        codebooks.adopt_file(tmp_path / "other.pth", tmp_path)
    assert "\n" not in str(raised.value)


class Trap:
    """Pickled, it would run when it is read."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return (Path.touch, (Path("trap"),))  # type: ignore[return-value]


@pytest.mark.parametrize("content", [b"", b"no checkpoint", "trap", [1, 2]])
def test_a_file_that_is_no_checkpoint_is_refused_and_runs_nothing(
    content: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "bad.pth"
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        torch.save({"model": Trap()} if content == "trap" else content, file)
    with pytest.raises(ValueError, match=r"^bad\.pth ") as raised:
        codebooks.adopt_file(file, tmp_path)
    assert "\n" not in str(raised.value)
    assert not Path("trap").exists()


def test_people_import_it_by_a_command(shell: Shell, tmp_path: Path) -> None:
    torch.save(small(), shell.folder / "vqhbr.pth")
    done = shell.type("codebook", "import", "vqhbr.pth", "--home", str(tmp_path / "h"))
    assert done.returncode == 0, done.stderr
    said = done.stdout + done.stderr
    digest = hashlib.sha256((shell.folder / "vqhbr.pth").read_bytes()).hexdigest()
    assert "40 codes x 8 on mimic: imported" in said
    assert f"imported='{digest}'" in said.replace("\n", "")
    missing = shell.type("codebook", "import", "vqhb.pth", "--home", str(tmp_path / "h"))
    assert (missing.returncode, missing.stderr.count("\n")) == (2, 1)


@pytest.mark.slow
def test_on_a_full_disk_a_home_keeps_what_it_has(shell: Shell, disk_of: Callable[[str], Path]) -> None:
    """A codebook and the speed of the machine: all of it or none, and a sentence says what to do."""
    torch.save(small(), shell.folder / "vqhbr.pth")
    disk = disk_of("1m")
    command, device = ("codebook", "import", "vqhbr.pth", "--home", str(disk)), calibration.Device("a", False, 1e9, {})
    with pytest.raises(OSError, match="No space left"):
        fill(disk / "ballast")
    full = shell.type(*command)
    assert full.returncode == 1
    assert re.search(r"^ecgscale: the disk is full.*; make room, then the same command goes on$", full.stderr, re.M)
    with pytest.raises(OSError, match="No space left"):
        calibration.keep(device, disk)
    assert [path.name for path in disk.rglob("*") if path.is_file()] == ["ballast"]
    (disk / "ballast").unlink()
    assert shell.type(*command).returncode == 0
    calibration.keep(device, disk)
    codebooks.read(codebooks.adopt_file(shell.folder / "vqhbr.pth", disk), disk)


def test_a_sweep_says_which_codebook_it_lacks(home: Path) -> None:
    book = Codebook("mimic", 40, 8, 2, 1, 24, 2, 32, n_tokens=20, unit="mv", imported="ab" * 32)
    run = Run(Transformer(1, 8, 1, 16, n_tokens=20), Masked(book), Slice("ludb-sample"))
    (cause,) = unlaunchable(Sweep("s", (run,), ()), home, home)
    assert "ecgscale codebook import FILE" in cause
    (cause,) = unlaunchable(Sweep("s", (replace(run, objective=Masked(replace(book, imported=""))),), ()), home, home)
    assert "ecgscale codebook train --sweep s" in cause


@pytest.mark.slow
def test_the_published_size_is_imported(tmp_path: Path) -> None:
    """8192 codes of 128, 768 wide, 4 layers and 2: HeartLang's own numbers, which are the recipe's defaults."""
    tensors = checkpoint(8192, 128, 768, 4, 2, 2, 2048, 256)
    recipe, state = published.adopt(tensors, "mimic", "0" * 64)
    assert recipe == Codebook("mimic", unit="mv", imported="0" * 64)
    book = recipe.build()
    book.load_state_dict(state)
    said = spoken([256], n_tokens=256)
    codes = book.eval().label(said)[0]
    slow = slow_codes(double(tensors), said.words[0].double(), said.lead[0], said.second[0])
    assert (codes == slow).float().mean() > 0.98  # float32 against float64: ties among 8192 codes
    assert len(codes.unique()) > 20


def quantiser() -> CodebookModule:
    torch.manual_seed(0)
    return Codebook("none", 12, 5, 1, 1, 8, 1, 8, n_tokens=20).build()


def test_codes_of_length_0_are_read_and_named_where_no_other_is_near(tmp_path: Path) -> None:
    """Published books have them: k-means draws padding as a centre, and no word is ever nearest to it."""
    tensors = small()
    tensors["quantize.embedding.weight"][::3] = 0
    torch.save({"model": tensors}, tmp_path / "vqhbr.pth")
    recipe = codebooks.adopt_file(tmp_path / "vqhbr.pth", tmp_path)
    book = codebooks.read(recipe, tmp_path)[0]
    codes = book.get_buffer("codes")
    assert (codes.norm(dim=1) == 0).sum() == 14
    words = F.normalize(torch.randn(500, 8, generator=torch.Generator().manual_seed(1)), dim=1)
    distance = torch.cdist(words.double(), codes.double()).square()
    assert torch.equal(book.nearest(words), distance.argmin(1))
    assert (codes[book.nearest(words)].norm(dim=1) == 0).any()
    tensors["quantize.embedding.weight"][1] *= 0.5
    torch.save({"model": tensors}, tmp_path / "half.pth")
    with pytest.raises(ValueError, match="not of length 1"):
        codebooks.adopt_file(tmp_path / "half.pth", tmp_path)


def test_words_of_zeros_are_padding_whatever_their_ids(imported: tuple[CodebookModule, Codebook]) -> None:
    book = imported[0]
    words = spoken([20, 12])
    words.words[0, 4] = 0
    assert words.lead[0, 4] > 0
    assert words.real.sum(1).tolist() == [19, 12]
    codes = book.label(words)
    assert codes[0, 4] == codes[1, 15]  # that of padding
    assert len(book.embed(words)) == 31


def test_a_codebook_starts_and_is_optimised_as_published(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """Heads normal with deviation 0.02; vectors without decay; the learning rate ends at 1e-5."""
    torch.manual_seed(0)
    book = Codebook("none", 12, 32, 1, 1, 64, 1, 64, n_tokens=20).build()
    for head in (book.to_code, book.to_word):
        for layer in (part for part in head if isinstance(part, torch.nn.Linear)):
            assert float(layer.weight.detach().std()) == pytest.approx(0.02, rel=0.1)
            assert not layer.bias.any()
    still = {id(p) for group in decayed_apart(book) if not group.weight_decay for p in group.parameters}
    names = {name for name, p in book.named_parameters() if id(p) in still}
    assert names == {n for n, p in book.named_parameters() if p.ndim == 1 and not n.endswith("mask_token")}
    seen: list[float] = []
    monkeypatch.setattr(train, "optimiser_step", lambda optimiser, lr, clip, decay: seen.append(lr))
    recipe = replace(TINY_CODEBOOK, steps=20, lr=1e-3)
    list(train.train_codebook(recipe, data.open_corpus("ludb-sample", home)))
    assert max(seen) == pytest.approx(1e-3)
    assert seen[-1] == pytest.approx(1e-5, rel=1.0)
    assert seen[-1] > 1e-5


def test_codes_start_at_the_means_of_words() -> None:
    """Ten rounds of spherical k-means, written out."""
    book = quantiser()
    words = F.normalize(torch.randn(60, 5, generator=torch.Generator().manual_seed(1)), dim=1)
    torch.manual_seed(7)
    centres = [words[i].clone() for i in torch.randperm(60)[:12].tolist()]
    for _ in range(10):
        near = [max(range(12), key=lambda c: float(word @ centres[c])) for word in words]
        groups = [[word for word, at in zip(words, near, strict=True) if at == c] for c in range(12)]
        centres = [F.normalize(sum(g, torch.zeros(5)), dim=0) if g else centres[c] for c, g in enumerate(groups)]
    torch.manual_seed(7)
    book._start(words)
    torch.testing.assert_close(book.get_buffer("codes"), torch.stack(centres))
    book._start(words[:3])  # fewer words than codes: each is some word's
    assert set(book.nearest(words[:3]).tolist()) <= set(range(12))
    assert float((book.get_buffer("codes") @ words[:3].T).max(1).values.min()) == pytest.approx(1, abs=1e-5)


def test_codes_follow_their_words_and_dead_ones_stay() -> None:
    book = quantiser()
    before = book.get_buffer("codes").clone()
    words = F.normalize(torch.randn(9, 5, generator=torch.Generator().manual_seed(1)), dim=1)
    near = book.nearest(words)
    book._move(words, near)
    after = book.get_buffer("codes")
    for code in range(12):
        mine = [words[i] for i in range(9) if near[i] == code]
        if mine:
            mean = F.normalize(sum(mine, torch.zeros(5)) / len(mine), dim=0)
            expected = F.normalize(0.99 * before[code] + 0.01 * mean, dim=0)
            torch.testing.assert_close(after[code], expected)
        else:
            assert torch.equal(after[code], before[code])


def test_no_flipped_bit_in_a_codebook_goes_unnoticed(imported: tuple[CodebookModule, Codebook], tmp_path: Path) -> None:
    recipe, draw = imported[1], random.Random(0)
    path = codebooks.path_of(recipe, tmp_path)
    whole = path.read_bytes()
    for _ in range(200):
        damaged = bytearray(whole)
        damaged[draw.randrange(len(whole))] ^= 1 << draw.randrange(8)
        path.write_bytes(damaged)
        with pytest.raises(FileNotFoundError, match=r"is damaged .*; run: ecgscale codebook import FILE"):
            codebooks.read(recipe, tmp_path)
