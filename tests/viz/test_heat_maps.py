"""Attention and gates as heat maps: what is on them, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as ts
from tinygrad_seq.viz import attention_plot, confusion_plot, gate_plot, heat_maps, plots

pytest.importorskip("matplotlib")
TOKENS = ["the", "cat", "$x$", " ", "\n"]


@pytest.fixture
def caught(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The figures, as they are before they are written."""
    figures: list[Any] = []
    monkeypatch.setattr(heat_maps, "save_figure", lambda made, path: figures.append(made) or path)
    return figures


def labels(axes: Any, axis: str) -> list[str]:
    return [label.get_text() for label in getattr(axes, f"get_{axis}ticklabels")()]


def weights(*shape: int) -> np.ndarray:
    x = np.random.default_rng(0).random(shape)
    return x / x.sum(-1, keepdims=True)


def test_all_heads_that_were_recorded(caught: list[Any], tmp_path: Path) -> None:
    mha = ts.nn.MultiheadAttention(12, 6)
    x = ts.tensor(np.random.default_rng(0).standard_normal((1, 5, 12)).astype("float32"))
    with ts.record() as r:
        mha(x, x, x, causal=True)
    alpha = r["multiheadattention"].alpha
    path = attention_plot(alpha, tmp_path / "x.png", rows=TOKENS, columns=TOKENS, title="A layer")
    assert path == tmp_path / "x.png"
    (figure,) = caught
    *heads, bar = figure.axes
    assert [axes.get_title() for axes in heads] == [f"head {k}" for k in range(1, 7)]
    for k, axes in enumerate(heads):
        np.testing.assert_array_equal(axes.images[0].get_array(), alpha.numpy()[0, k])
        assert axes.images[0].get_clim() == (0, 1)
    corner = heads[4]  # a grid of 4 + 2: labels stand at its left and below it
    assert labels(corner, "x") == labels(corner, "y") == ["the", "cat", "$x$", "␣", "⏎"]
    assert [len(labels(axes, "y")) for axes in heads] == [5, 0, 0, 0, 5, 0]
    assert [len(labels(axes, "x")) for axes in heads] == [0, 0, 5, 5, 5, 5]
    assert bar.get_ylabel() == "attention weight α"
    assert figure.get_suptitle() == "A layer" and figure.get_supxlabel().startswith("keys")
    assert figure.get_supylabel().startswith("queries")


def test_an_alignment_has_a_row_for_each_query(caught: list[Any], tmp_path: Path) -> None:
    alpha = weights(2, 4)
    attention_plot(alpha, tmp_path / "x.png", rows="ab", columns="wxyz")
    axes = caught[0].axes[0]
    assert labels(axes, "x") == list("wxyz") and labels(axes, "y") == list("ab")
    np.testing.assert_array_equal(axes.images[0].get_array(), alpha)


def test_labels_that_have_no_room_are_left_out(caught: list[Any], tmp_path: Path) -> None:
    tokens = [str(k) for k in range(130)]
    attention_plot(weights(130, 130), tmp_path / "x.png", rows=tokens, columns=tokens)
    assert labels(caught[0].axes[0], "x") == tokens[::3] and list(caught[0].axes[0].get_xticks())[:3] == [0, 3, 6]
    assert max(caught[0].get_size_inches()) < 16


def test_forty_tokens_have_a_label_each(caught: list[Any], tmp_path: Path) -> None:
    tokens = [f"token {k}" for k in range(40)]
    attention_plot(weights(12, 40, 40), tmp_path / "x.png", rows=tokens, columns=tokens)
    assert len(labels(caught[0].axes[8], "x")) == len(labels(caught[0].axes[8], "y")) == 40


def test_a_long_token_is_cut(caught: list[Any], tmp_path: Path) -> None:
    attention_plot(weights(1, 2), tmp_path / "x.png", rows=["a" * 500], columns=["b", "c" * 500])
    assert labels(caught[0].axes[0], "x") == ["b", "c" * 23 + "…"]
    assert max(caught[0].get_size_inches()) < 6


@pytest.mark.filterwarnings("error:constrained_layout")
def test_long_tokens_leave_room_for_a_gate(tmp_path: Path) -> None:
    gate_plot({"f_t": weights(2, 1)}, tmp_path / "x.png", text=["a" * 50, "b"], title="A title on two lines " * 3)


def test_a_token_may_be_a_number(caught: list[Any], tmp_path: Path) -> None:
    attention_plot(weights(2, 2), tmp_path / "x.png", rows=[17, 3], columns=[3, 4])  # type: ignore[list-item]
    assert labels(caught[0].axes[0], "y") == ["17", "3"]


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_files(suffix: str, tmp_path: Path) -> None:
    path = attention_plot(weights(2, 5, 5), tmp_path / f"a.{suffix}", rows=TOKENS, columns=TOKENS)
    assert path.stat().st_size > 4000
    path = gate_plot({"f_t": weights(5, 3)}, tmp_path / f"g.{suffix}", text=TOKENS)
    assert path.stat().st_size > 4000


def test_attention_errors(tmp_path: Path) -> None:
    def draw(alpha: Any, name: str = "x.png") -> None:
        attention_plot(alpha, tmp_path / name, rows="ab", columns="xyz")

    with pytest.raises(ValueError, match=r"got \(3, 1, 2, 3\): take one sequence, alpha\[0\]"):
        draw(weights(3, 1, 2, 3))
    with pytest.raises(ValueError, match=r"expected alpha \(S, T\), .* got \(3,\)"):
        draw(weights(3))
    with pytest.raises(ValueError, match=r"each of 2 queries and a column for each of 3 keys, .* got .* \(3, 2\)"):
        draw(weights(3, 2))
    with pytest.raises(ValueError, match="expected weights from 0 to 1, got -1 to 2"):
        draw(np.array([[-1.0, 0, 0], [2, 0, 0]]))
    with pytest.raises(ValueError, match="got nan to nan"):
        draw(np.full((2, 3), np.nan))
    with pytest.raises(ValueError, match=r"\.png, \.svg or \.pdf"):
        draw(weights(2, 3), "x.gif")
    with pytest.raises(FileNotFoundError, match="attention_plot: the folder .* does not exist"):
        draw(weights(2, 3), "none/x.png")


def test_gates_over_a_text(caught: list[Any], tmp_path: Path) -> None:
    lstm = ts.nn.LSTM(3, 4)
    x = ts.tensor(np.random.default_rng(0).standard_normal((1, 6, 3)).astype("float32") * 0.1)
    with ts.record() as r:
        lstm(x)
    gate_plot({"f_t": r["lstm"].f_t, "c_t": r["lstm"].c_t.numpy()[0]}, tmp_path / "x.png", text="a cat\n", title="T")
    forget, bar, cell, _ = sorted(caught[0].axes, key=lambda axes: -axes.get_position().y0 + axes.get_position().x0 / 9)
    assert forget.get_title() == "fₜ" and cell.get_title() == "cₜ" and not bar.get_title()
    np.testing.assert_array_equal(forget.images[0].get_array(), r["lstm"].f_t.numpy()[0].T)  # (H, T)
    np.testing.assert_array_equal(cell.images[0].get_array(), r["lstm"].c_t.numpy()[0].T)
    assert forget.images[0].get_clim() == (0, 1)
    low, high = cell.images[0].get_clim()
    assert 0 < high < 1 and low == -high == -np.abs(r["lstm"].c_t.numpy()).max()  # around 0
    assert labels(cell, "x") == ["a", "␣", "c", "a", "t", "⏎"] and labels(cell, "y") == ["0", "1", "2", "3"]
    assert cell.get_xlabel().startswith("time step") and cell.get_ylabel() == "unit"


def test_symbols_have_their_subscripts_and_other_names_none(caught: list[Any], tmp_path: Path) -> None:
    names = ("h_t", "c_tilde_t", "loss_total", "W_f")
    gate_plot({name: weights(2, 2) for name in names}, tmp_path / "x.png", text="ab")
    assert [axes.get_title() for axes in caught[0].axes if axes.images] == ["hₜ", "c̃ₜ", "loss_total", "W_f"]


def test_what_is_larger_than_one_keeps_its_scale(caught: list[Any], tmp_path: Path) -> None:
    gate_plot({"c": np.array([[-3.0], [5.0]])}, tmp_path / "x.png", text="ab")
    gate_plot({"h": np.array([[0.0], [5.0]])}, tmp_path / "x.png", text="ab")
    assert [figure.axes[0].images[0].get_clim() for figure in caught] == [(-5, 5), (0, 5)]


def test_gate_errors(tmp_path: Path) -> None:
    def draw(gates: Any, text: Any = "abc", name: str = "x.png") -> None:
        gate_plot(gates, tmp_path / name, text=text)

    with pytest.raises(ValueError, match=r"expected f_t .* with T = 3, .* got \(2, 3, 4\): take one text, f_t\[0\]"):
        draw({"f_t": weights(2, 3, 4)})
    with pytest.raises(ValueError, match=r"T = 3, .* got \(4, 3\)"):
        draw({"f_t": weights(4, 3)})
    with pytest.raises(ValueError, match="expected 1 to 12 gates, one below the other, got 0"):
        draw({})
    with pytest.raises(ValueError, match="expected 1 to 12 gates, one below the other, got 300"):
        draw({f"f_{k}": weights(3, 2) for k in range(300)})
    with pytest.raises(ValueError, match="f_t has 501 units, of which at most 500 can be seen: draw a part"):
        draw({"f_t": weights(3, 501)})
    with pytest.raises(ValueError, match="expected a text of 1 to 200 characters, got 300: draw a part"):
        draw({"f_t": weights(300, 2)}, "a" * 300)
    with pytest.raises(ValueError, match="expected a text of 1 to 200 characters, got 0"):
        draw({"f_t": weights(0, 2)}, "")
    with pytest.raises(ValueError, match="f_t has values that are not finite"):
        draw({"f_t": np.full((3, 2), np.inf)})
    with pytest.raises(ValueError, match=r"gate_plot: 'x.gif' does not end in"):
        draw({"f_t": weights(3, 2)}, name="x.gif")


def test_lightness_falls_evenly() -> None:
    for colours, light, dark in ((plots.shades(), 97, 25), (plots.both_sides(), 80, 25)):
        lightness = plots.lightness_of(colours(np.linspace(0, 1, 256))[:, :3])
        np.testing.assert_allclose(lightness, np.linspace(lightness[0], lightness[-1], 256), atol=0.5)
        assert lightness[0] > light and lightness[-1] < dark
    assert np.ptp(plots.both_sides()([127, 128])[:, :3]) < 0.03  # grey at 0
    np.testing.assert_allclose(
        plots.lightness_of(np.array([[0.0] * 3, [1.0] * 3, [0.5] * 3])), [0, 100, 53.4], atol=0.1
    )


def test_what_is_taken_for_what(caught: list[Any], tmp_path: Path) -> None:
    counts = ts.train.confusion_matrix([0, 0, 1, 1, 1, 0], [0, 0, 0, 1, 1, 3], 4)
    path = confusion_plot(counts, tmp_path / "x.png", labels=["O", "B-$x$", "I-x", "B-y"], title="Tags")
    assert path == tmp_path / "x.png"
    axes, bar = caught[0].axes
    assert labels(axes, "x") == labels(axes, "y") == ["O", "B-$x$", "I-x", "B-y"]
    shares = [[2 / 3, 1 / 3, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0]]  # I-x never came
    np.testing.assert_allclose(axes.images[0].get_array(), shares)
    assert {text.get_position(): text.get_text() for text in axes.texts} == {
        (0, 0): "2",
        (1, 0): "1",
        (1, 1): "2",
        (0, 3): "1",
    }
    assert {text.get_text(): text.get_color() for text in axes.texts}["2"] == "white"
    assert axes.get_ylabel() == "true" and axes.get_xlabel() == "predicted"
    assert bar.get_ylabel() == "share of the true label" and caught[0].get_suptitle() == "Tags"


def test_many_labels_have_no_numbers(caught: list[Any], tmp_path: Path) -> None:
    for K, n in ((25, 25), (26, 0), (200, 0)):
        confusion_plot(np.eye(K), tmp_path / "x.png", labels=[str(k) for k in range(K)])
        assert len(caught[-1].axes[0].texts) == n and max(caught[-1].get_size_inches()) < 14


def test_what_is_no_confusion_matrix(tmp_path: Path) -> None:
    for counts, wrong in (
        (np.ones((2, 3)), r"for each of 2 labels, \(2, 2\), got counts of shape \(2, 3\)"),
        (np.ones((3, 3)), "for each of 2 labels"),
        ([[1, -1], [0, 1]], "got negative numbers"),
        ([[1, np.nan], [0, 1]], "not finite"),
    ):
        with pytest.raises(ValueError, match=wrong):
            confusion_plot(counts, tmp_path / "x.png", labels=["a", "b"])
    with pytest.raises(ValueError, match="for each of 0 labels"):
        confusion_plot(np.ones((0, 0)), tmp_path / "x.png", labels=[])
    with pytest.raises(ValueError, match=r"confusion_plot: 'x.gif' does not end in"):
        confusion_plot(np.eye(1), tmp_path / "x.gif", labels=["a"])
    assert not list(tmp_path.iterdir())
