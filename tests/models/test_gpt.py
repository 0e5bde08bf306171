"""GPT: its size, its initial weights, what it may see, its cache, and that it learns to sort."""

import itertools
import time
import tracemalloc
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as ts
from tinygrad_seq.models import GPT, GPTConfig, NGram, NGramConfig
from tinygrad_seq.models.generation import generate
from uncached import Uncached

IDS = np.array([[4, 1, 6, 2, 0, 3], [3, 5, 0, 0, 6, 6]])


def small(**changes: Any) -> GPT:
    """Its matrices are large enough that what it says differs from place to place."""
    ts.seed(1)
    sizes = {"vocab_size": 7, "block_size": 12, "n_layer": 2, "n_head": 2, "n_embd": 8} | changes
    model = GPT(GPTConfig(**sizes)).eval().to("float64")
    rng = np.random.default_rng(0)
    for p in model.parameters():
        p.data += (0.8 if p.ndim == 2 else 0.1) * rng.standard_normal(p.shape)
    return model


def test_without_arguments_it_is_gpt2_small() -> None:
    """Built in seconds, and its memory paid once: the peak is that of the parameters and one more block."""
    tracemalloc.start()
    begin = time.process_time()
    try:
        model = GPT()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert model.num_parameters() == 124_439_808
    assert peak < 1.1 * 4 * 124_439_808
    assert time.process_time() - begin < 20
    std = {name: float(p.data.std()) for name, p in model.named_parameters() if p.ndim == 2}
    for name, found in std.items():
        added = name.endswith(("out_proj.weight", "linear2.weight"))
        assert found == pytest.approx(0.02 / 24**0.5 if added else 0.02, rel=0.01), name
    assert sum(name.endswith(("out_proj.weight", "linear2.weight")) for name in std) == 24


def test_what_the_config_says() -> None:
    model = small(bias=False)
    assert not [name for name, _ in model.named_parameters() if "bias" in name]
    D, V = 8, 7
    blocks = 2 * (3 * D * D + D * D + 2 * 4 * D * D + 2 * D)
    assert model.num_parameters() == V * D + 12 * D + blocks + D
    assert small(bias=False, tied=False).num_parameters() == model.num_parameters() + V * D


def test_the_output_is_the_table_of_tokens() -> None:
    model = small()
    model(IDS).sum().backward()
    hidden = []
    final = model.blocks.norm
    plain = final.forward
    final.forward = lambda x: hidden.append(plain(x)) or hidden[-1]  # type: ignore[method-assign, func-returns-value]
    np.testing.assert_allclose(model(IDS).data, hidden[0].data @ model.tokens.weight.data.T, rtol=1e-12)
    assert model.tokens.weight.grad is not None


def test_no_position_sees_its_future() -> None:
    model, other = small(), IDS.copy()
    other[:, 4:] = (other[:, 4:] + 1) % 7
    a, b = model(IDS).data, model(other).data
    np.testing.assert_array_equal(a[:, :4], b[:, :4])
    assert (np.abs(a[:, 4:] - b[:, 4:]).max(-1) > 1e-3).all()


@pytest.mark.parametrize("chunks", [[1] * 6, [3, 3], [2, 1, 3], [6]])
def test_a_cache_changes_nothing(chunks: list[int]) -> None:
    model, cache, found = small(), ts.nn.KVCache(), []
    with ts.no_grad():
        for end, n in zip(itertools.accumulate(chunks), chunks, strict=True):
            found.append(model(IDS[:, end - n : end], cache).data)
        np.testing.assert_allclose(np.concatenate(found, 1), model(IDS).data, rtol=0, atol=1e-12)


@pytest.mark.parametrize("options", [{"temperature": 0}, {"beams": 3, "stop": 2}, {"temperature": 2.0, "top_k": 4}])
def test_writing_with_and_without_cache(options: dict[str, Any]) -> None:
    """Prompts of different lengths, token for token; beam search too, which reorders the cache."""
    model = small()
    prompts = [[4, 1, 6], [3], [5, 5, 0, 2, 1]]
    results = []
    for each in (model, Uncached(model)):
        ts.seed(2)
        results.append(generate(each, prompts, 6, **options))
    cached, plain = results
    assert cached.tokens == plain.tokens
    assert len({tuple(row) for row in cached.tokens}) == 3
    for a, b in zip(cached.log_probs, plain.log_probs, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)


def test_writing_on_the_device(device: Any) -> None:
    model, prompts = small(), [[4, 1, 6], [3]]
    ways: list[dict[str, Any]] = [{"temperature": 0}, {"beams": 2}]
    expected = [model.generate(prompts, 5, **options) for options in ways]
    model.to("cuda")
    with device.reading():  # which token came is known on the host
        assert [model.generate(prompts, 5, **options) for options in ways] == expected


def test_the_context_ends_at_block_size() -> None:
    model = small()
    assert model(np.zeros((1, 12), int)).shape == (1, 12, 7)
    with pytest.raises(ValueError, match="at most block_size = 12 tokens, got 13: cut the text"):
        model(np.zeros((1, 13), int))
    assert len(model.generate([1] * 5, 8)) == 8  # the last token is written, and not read
    with pytest.raises(ValueError, match="at most block_size = 12 tokens, got 13"):
        model.generate([1] * 5, 9)


def test_it_learns_to_sort() -> None:
    """Five letters and then the same in order, from 160 of the 243; on the others an n-gram model is lost."""
    N, V = 5, 3
    rng = np.random.default_rng(0)
    letters = rng.permutation(np.array(list(itertools.product(range(V), repeat=N))))
    training, held_out = letters[:160], letters[160:]
    answers = np.sort(held_out, 1).tolist()

    ts.seed(0)
    model = GPT(GPTConfig(V, 2 * N - 1, n_layer=1, n_head=2, n_embd=16, dropout=0.0))
    optimizer = ts.optim.AdamW(model.parameters(), lr=0.01)
    for _ in range(250):
        x = training[rng.integers(0, len(training), 64)]
        text = np.concatenate([x, np.sort(x, 1)], 1)
        targets = text[:, 1:].copy()
        targets[:, : N - 1] = -1  # the letters themselves are anybody's guess
        loss = ts.ops.cross_entropy(model(text[:, :-1]), targets, ignore_index=-1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    written = model.generate(held_out, N, temperature=0)
    assert np.mean([a == b for a, b in zip(written, answers, strict=True)]) > 0.95

    counts = NGram(NGramConfig(V, 4)).fit(np.concatenate([training, np.sort(training, 1)], 1).reshape(-1))
    right = 0
    for x, answer in zip(held_out, answers, strict=True):
        text = list(x)
        for _ in range(N):
            text.append(int(counts.probabilities(text).argmax()))
        right += text[N:] == answer
    assert right / len(held_out) < 0.1
