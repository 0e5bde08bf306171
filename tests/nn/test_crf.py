"""The conditional random field as a layer."""

import numpy as np
import pytest

import tinygrad_seq as ts
from tinygrad_seq.testing import check_grads

RNG = np.random.default_rng(0)


def test_the_loss_is_a_mean_over_tokens() -> None:
    crf = ts.nn.CRF(3).to("float64")
    e, tags = RNG.standard_normal((2, 4, 3)), np.array([[0, 1, 2, 0], [2, 1, -1, -1]])
    log_p = crf(e, tags, [4, 2]).numpy()
    assert crf.loss(e, tags, [4, 2]).item() == pytest.approx(-log_p.sum() / 6, rel=1e-12)
    alone = crf.loss(e[:1], tags[:1])
    assert alone.item() == pytest.approx(-log_p[0] / 4, rel=1e-12)
    assert ts.nn.CRF(3).loss(e.astype("float32"), tags, np.array([4, 2])).dtype == np.float32


def test_its_parameters_have_gradients() -> None:
    crf = ts.nn.CRF(2).to("float64")
    assert [name for name, _ in crf.named_parameters()] == ["transitions", "start_transitions", "end_transitions"]
    assert crf.A.shape == (2, 2) and crf.a.shape == crf.b.shape == (2,)
    tags = np.array([[0, 1, 1]])

    def loss(e: ts.Tensor, *p: ts.Tensor) -> ts.Tensor:
        crf.transitions, crf.start_transitions, crf.end_transitions = p
        return ts.nn.CRF.loss(crf, e, tags)

    check_grads(loss, [RNG.standard_normal((1, 3, 2)), *(RNG.standard_normal(s) for s in ((2, 2), (2,), (2,)))])


def test_it_learns_which_tag_follows_which() -> None:
    """The emissions say nothing: what is left is that tags alternate, and begin with 1."""
    ts.seed(0)
    crf = ts.nn.CRF(2)
    tags = np.array([[1, 0, 1, 0, 1], [1, 0, 1, -1, -1]])
    e, lengths = np.zeros((2, 5, 2), np.float32), [5, 3]
    optimizer = ts.optim.Adam(crf.parameters(), lr=0.1)
    for _ in range(100):
        optimizer.zero_grad()
        crf.loss(e, tags, lengths).backward()
        optimizer.step()
    assert crf.decode(e, lengths).tolist() == tags.tolist()
    assert crf.loss(e, tags, lengths).item() < 0.05


def test_decoding_leaves_no_graph() -> None:
    crf = ts.nn.CRF(3)
    e = ts.tensor(RNG.standard_normal((2, 4, 3)).astype("float32"), requires_grad=True)
    tags = crf.decode(e, [4, 1])
    assert tags.dtype == np.int64 and not tags.requires_grad and tags.tolist()[1][1:] == [-1, -1, -1]


def test_no_tags() -> None:
    with pytest.raises(ValueError, match="at least 1 tag, got 0"):
        ts.nn.CRF(0)
