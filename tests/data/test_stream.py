import json
from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_seq.data import LanguageModelStream, RandomBlocks

sizes = st.tuples(st.integers(1, 5), st.integers(1, 7), st.integers(1, 120)).filter(lambda s: s[2] >= s[0] * s[1] + 1)


@given(sizes)
def test_one_pass_reads_the_rows_from_left_to_right(size):
    B, T, N = size
    stream = LanguageModelStream(np.arange(N), B, T)
    batches = list(stream)
    assert len(batches) == len(stream) >= 1
    assert all(x.shape == y.shape == (B, T) for x, y in batches)
    x = np.concatenate([x for x, _ in batches], axis=1)  # (B, len · T): each row one unbroken stretch of the text
    y = np.concatenate([y for _, y in batches], axis=1)
    row = (N - 1) // B
    np.testing.assert_array_equal(x, np.arange(x.shape[1]) + row * np.arange(B)[:, None])
    np.testing.assert_array_equal(y, x + 1)
    assert row - x.shape[1] < T  # what is left out does not make another batch
    assert stream.num_symbols == x.size


def test_the_shortest_text_is_one_batch():
    ((x, y),) = LanguageModelStream(np.array([5, 6, 7, 8, 9]), 2, 2)
    assert x.tolist() == [[5, 6], [7, 8]] and y.tolist() == [[6, 7], [8, 9]]


def test_every_pass_is_the_same():
    stream = LanguageModelStream(np.arange(50), 2, 5)
    first, second = list(stream), list(stream)
    np.testing.assert_array_equal(np.array(first), np.array(second))


@given(sizes, st.data())
def test_a_stream_goes_on_where_it_was_stopped(size, data):
    B, T, N = size
    whole = list(LanguageModelStream(np.arange(N), B, T))
    stopped = LanguageModelStream(np.arange(N), B, T)
    after = data.draw(st.integers(1, len(whole)))
    for done, _ in enumerate(stopped, start=1):
        if done == after:
            state = json.loads(json.dumps(stopped.state_dict()))
            break
    resumed = LanguageModelStream(np.arange(N), B, T)
    resumed.load_state_dict(state)
    rest = list(resumed)
    # After the last batch the next one is the first of a new pass.
    expected = whole[after:] or whole
    np.testing.assert_array_equal(np.array(rest), np.array(expected))
    np.testing.assert_array_equal(np.array(list(stopped)), np.array(expected))


def test_the_position_can_be_set():
    stream = LanguageModelStream(np.arange(41), 2, 5)
    stream.position = 3
    ((x, _),) = stream
    assert x[0].tolist() == [15, 16, 17, 18, 19] and stream.position == 0
    for wrong in (-1, 4):
        with pytest.raises(ValueError, match=f"position from 0 to 3, the last batch, got {wrong}"):
            stream.position = wrong


def test_batches_are_copies_with_the_dtype_of_the_text():
    ids = np.arange(21, dtype=np.uint16)
    for x, y in LanguageModelStream(ids, 2, 5):
        assert x.dtype == y.dtype == np.uint16 and x.flags.c_contiguous and y.flags.c_contiguous
        x[:] = y[:] = 0
    np.testing.assert_array_equal(ids, np.arange(21))


def test_a_short_text_says_how_much_is_needed():
    with pytest.raises(ValueError, match=r"at least 4 · 16 \+ 1 = 65 symbols, got 64"):
        LanguageModelStream(np.arange(64), 4, 16)


def test_what_is_no_text_is_refused():
    with pytest.raises(TypeError, match="integer ids, got float64"):
        LanguageModelStream(np.ones(9), 1, 1)
    with pytest.raises(ValueError, match=r"shape \(N,\), got \(3, 3\)"):
        LanguageModelStream(np.ones((3, 3), dtype=int), 1, 1)
    for B, T in ((0, 1), (1, 0)):
        with pytest.raises(ValueError, match=f"at least 1, got {B} and {T}"):
            LanguageModelStream(np.arange(9), B, T)


@pytest.mark.parametrize("other", [(50, 2, 5), (41, 4, 5), (41, 2, 4)])
def test_the_position_of_another_stream_is_refused(other):
    N, B, T = other
    stream = LanguageModelStream(np.arange(41), 2, 5)
    with pytest.raises(ValueError, match="same text, batch_size and num_steps"):
        stream.load_state_dict(LanguageModelStream(np.arange(N), B, T).state_dict())
    with pytest.raises(ValueError, match="same text, batch_size and num_steps"):
        stream.load_state_dict({})


@given(st.integers(1, 4), st.integers(1, 6), st.integers(2, 40), st.integers(0, 9))
def test_random_blocks_are_stretches_of_the_text(B, T, N, seed):
    ids = np.arange(N, dtype=np.uint16) * 3
    if N < T + 1:
        with pytest.raises(ValueError, match=rf"at least {T} \+ 1 symbols, got {N}"):
            RandomBlocks(ids, B, T, seed=seed)
        return
    for x, y in islice(RandomBlocks(ids, B, T, seed=seed), 3):
        assert x.shape == y.shape == (B, T) and x.dtype == y.dtype == np.uint16
        both = np.concatenate([x, y[:, -1:]], axis=1)
        np.testing.assert_array_equal(np.diff(both.astype(int), axis=1), 3)
        np.testing.assert_array_equal(both[:, 1:], y)


def test_random_blocks_begin_at_every_place_equally_often():
    blocks = RandomBlocks(np.arange(20), 50, 4, seed=0)
    starts = np.concatenate([x[:, 0] for x, _ in islice(blocks, 64)])
    counts = np.bincount(starts, minlength=16)
    assert len(counts) == 16  # 0 … N-T-1
    assert counts.min() > 150 and counts.max() < 250  # 200 each, with a deviation of 14


@given(st.integers(0, 5), st.integers(0, 3))
def test_random_blocks_go_on_where_they_were_stopped(after, seed):
    def blocks():
        return RandomBlocks(np.arange(50), 2, 5, seed=seed)

    whole = list(islice(blocks(), 8))
    stopped = blocks()
    list(islice(stopped, after))
    resumed = blocks()
    resumed.load_state_dict(json.loads(json.dumps(stopped.state_dict())))
    for stream in (stopped, resumed):
        np.testing.assert_array_equal(np.array(list(islice(stream, 8 - after))), np.array(whole[after:]))
        assert stream.position == 8
    other = RandomBlocks(np.arange(50), 2, 5, seed=seed + 1)
    assert not np.array_equal(np.array(list(islice(other, 8))), np.array(whole))


def test_random_blocks_refuse_what_they_cannot_do():
    for B, T in ((0, 1), (1, 0)):
        with pytest.raises(ValueError, match=f"at least 1, got {B} and {T}"):
            RandomBlocks(np.arange(9), B, T, seed=0)
    with pytest.raises(ValueError, match="a seed that is an integer"):
        RandomBlocks(np.arange(9), 1, 1, seed=-1)
    with pytest.raises(TypeError, match="integer ids, got float64"):
        RandomBlocks(np.ones(9), 1, 1, seed=0)
    blocks = RandomBlocks(np.arange(9), 2, 3, seed=0)
    with pytest.raises(ValueError, match="position of at least 0, got -1"):
        blocks.position = -1
    for other in (RandomBlocks(np.arange(9), 2, 3, seed=1), RandomBlocks(np.arange(8), 2, 3, seed=0)):
        with pytest.raises(ValueError, match="same text, batch_size, block_size and seed"):
            blocks.load_state_dict(other.state_dict())
    with pytest.raises(ValueError, match="same text"):
        blocks.load_state_dict({})


@pytest.mark.parametrize("stream", [LanguageModelStream, lambda ids, B, T: RandomBlocks(ids, B, T, seed=0)])
def test_a_memory_map_is_a_text(stream, tmp_path):
    ids = np.arange(100, dtype=np.uint8)
    np.save(tmp_path / "ids.npy", ids)
    mapped = stream(np.load(tmp_path / "ids.npy", mmap_mode="r"), 2, 5)
    for batch, expected in islice(zip(mapped, stream(ids, 2, 5), strict=False), 5):
        for one, other in zip(batch, expected, strict=True):
            assert type(one) is np.ndarray and one.flags.writeable
            np.testing.assert_array_equal(one, other)
