"""`tinygrad-seq graph`: the picture of a small model of ours, or of what a user's function returns."""

import builtins
import importlib
import inspect
import sys
import sysconfig
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from .. import models, ops
from ..core import Tensor
from ..core.random import seed
from ..nn import Module
from ..viz import Graph
from ..viz.build import build
from ..viz.names import plain

# Two sequences of symbols, the second one shorter; the pictures show these names.
TOKENS = np.array([[4, 1, 6, 2], [3, 5, 0, 0]])
LENGTHS = np.array([4, 2])
TARGET = np.array([[1, 3], [1, 6]])
# Where code is that no user of this command wrote.
_OTHERS = (
    "<frozen",
    str(Path(__file__).parents[1]),
    str(Path(models.__file__).parent),
    *(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")),
)


def _attention_decoder() -> Any:
    model = models.AttentionDecoder(models.AttentionDecoderConfig(7, 7, embedding_size=3, hidden_size=4))
    source, target, source_lengths = TOKENS, TARGET, LENGTHS
    return model(source, target, source_lengths)


def _bert() -> Any:
    model = models.BERT(_BERT)
    ids, lengths = TOKENS, LENGTHS
    return model(ids, lengths=lengths)


def _bert_for_pre_training() -> Any:
    model = models.BERTForPreTraining(_BERT)
    ids, lengths = TOKENS, LENGTHS
    return model(ids, lengths=lengths)


def _classifier() -> Any:
    model = models.Classifier(models.ClassifierConfig(7, 2, embedding_size=3, hidden_size=4))
    tokens, lengths = TOKENS, LENGTHS
    return model(tokens, lengths)


def _encoder_decoder() -> Any:
    model = models.EncoderDecoder(models.EncoderDecoderConfig(7, 7, embedding_size=3, hidden_size=4))
    source, target, source_lengths = TOKENS, TARGET, LENGTHS
    return model(source, target, source_lengths)


def _feedforward_lm() -> Any:
    model = models.FeedForwardLM(models.FeedForwardLMConfig(7, embedding_size=3, hidden_size=4))
    tokens = TOKENS
    return model(tokens)


def _gpt() -> Any:
    model = models.GPT(models.GPTConfig(7, block_size=4, n_layer=1, n_head=2, n_embd=4, dropout=0.0))
    ids = TOKENS
    return model(ids)


def _language_model() -> Any:
    model = models.LanguageModel(models.LanguageModelConfig(7, hidden_size=4))
    tokens = TOKENS
    logits, _ = model(tokens)
    return logits


def _tagger() -> Any:
    model = models.Tagger(models.TaggerConfig(7, 3, embedding_size=3, hidden_size=4))
    tokens, lengths = TOKENS, LENGTHS
    return model(tokens, lengths)


def _transformer() -> Any:
    model = models.Transformer(models.TransformerConfig(7, 7, 4, 2, 1, 6, dropout=0.0))
    source, target, source_lengths = TOKENS, TARGET, LENGTHS
    return model(source, target, source_lengths)


_BERT = models.BERTConfig(7, 4, 1, 2, 6, max_position_embeddings=4, dropout=0.0)

# Every model that can be drawn; its function builds a small one and calls it.
MODELS: dict[str, Callable[[], Any]] = {
    "AttentionDecoder": _attention_decoder,
    "BERT": _bert,
    "BERTForPreTraining": _bert_for_pre_training,
    "Classifier": _classifier,
    "EncoderDecoder": _encoder_decoder,
    "FeedForwardLM": _feedforward_lm,
    "GPT": _gpt,
    "LanguageModel": _language_model,
    "Tagger": _tagger,
    "Transformer": _transformer,
}


# What is public beside them, and why it has no picture of its own.
NOT_DRAWN = {
    "MaskedLMHead": "is drawn as a part of BERTForPreTraining",
    "NextSentenceHead": "is drawn as a part of BERTForPreTraining",
    "MostFrequentTag": "is a table of counts: it has no graph",
    "NGram": "is a table of counts: it has no graph",
    "NaiveBayes": "is a table of counts: it has no graph",
}


def draw(name: str, open: Sequence[str] = (), *, grad: bool = False, **options: Any) -> Graph:
    """The picture of a model by its name, or of what a function returns, by `module:function`.

    Args:
        name: one of MODELS, in any spelling (`language-model`), or `module:function`: a function without arguments that
            returns a tensor or a list of them. Boxes are named by the variables of that function.
        open: the fused operations to draw as their equations; "all" opens every one.
        grad: show the size of the gradients: of what the function returns, a loss of one element, or of a model's loss,
            the cross entropy of what it says with class 0 everywhere.
        options: depth, repeats, equations and time, as `ts.graph` has them.
    Raises:
        ValueError: for a name that is not known, an operation that is not there, options that do not go together, or
            `grad` where a function returns no loss.
        TypeError: where the function needs arguments or returns something else.
        RuntimeError: where the function itself raises.
    """
    if ":" in name:
        function = _function(name)
        title = name
    else:
        found = {plain(model): model for model in MODELS}
        if plain(name) not in found:
            elsewhere = {plain(model): model for model in NOT_DRAWN}.get(plain(name))
            if elsewhere:
                raise ValueError(f"{elsewhere} {NOT_DRAWN[elsewhere]}")
            raise ValueError(
                f"no model is called {name!r}; there are {', '.join(MODELS)}; "
                "a function of your own is given as module:function"
            )
        title = found[plain(name)]
        function = MODELS[title]
        seed(0)  # the same weights each time, for gradients are numbers
    value, variables = _call(name, function)
    if grad and ":" not in name:
        value = variables["loss"] = _loss(value)
    opened = builtins.all if "all" in open else tuple(open)
    try:
        return build(value, variables, open=opened, grad=grad, title=title, **options)
    except (ValueError, TypeError, RuntimeError) as error:
        raise type(error)(f"{name}: {error}") from error


def _loss(value: Any) -> Tensor:
    """One number from all that a model says."""
    outputs = value if isinstance(value, list | tuple) else [value]
    losses = [ops.cross_entropy(output, np.zeros(output.shape[:-1], int)) for output in outputs]
    return sum(losses[1:], start=losses[0])


def _function(name: str) -> Callable[[], Any]:
    module, _, function = name.rpartition(":")
    if module.endswith(".py"):
        raise ValueError(f"{name}: a module has no .py: {module.removesuffix('.py')}:{function}")
    if "" not in sys.path:  # as `python -m` has it
        sys.path.insert(0, "")
    try:
        imported = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name and f"{module}.".startswith(f"{error.name}."):
            raise ValueError(f"{name}: there is no module {module!r} in this folder or installed") from error
        raise RuntimeError(f"{name}: {module} cannot be imported: {_said(error)}") from error
    except (Exception, SystemExit) as error:
        raise RuntimeError(f"{name}: {module} cannot be imported: {_said(error)}") from error
    try:
        found = getattr(imported, function)
    except AttributeError as error:
        raise ValueError(f"{name}: module {module!r} has no function {function!r}") from error
    if not callable(found) or isinstance(found, Module):
        raise TypeError(f"{name}: expected a function without arguments, got {type(found).__name__}")
    return found


def _call(name: str, function: Callable[[], Any]) -> tuple[Any, dict[str, Any]]:
    """What a function returns, and the variables that it had then: they name the boxes."""
    try:
        inspect.signature(function).bind()
    except TypeError as error:
        raise TypeError(f"{name}: expected a function without arguments: {error}") from error
    here, variables = sys._getframe(), {}

    def watch(frame: FrameType, event: str, _: Any) -> None:
        if event == "return" and frame.f_back is here:
            variables.update(frame.f_locals)

    before = sys.getprofile()
    sys.setprofile(watch)
    try:
        value = function()
    except (Exception, SystemExit) as error:
        raise RuntimeError(f"{name}: {_said(error)}") from error
    finally:
        sys.setprofile(before)
    return value, variables


def _said(error: BaseException) -> str:
    """An error of the user's code, with the last line of that code on the way to it."""
    if isinstance(error, SyntaxError) and error.filename:
        what, file, line = error.msg, error.filename, error.lineno
    else:
        frames = traceback.extract_tb(error.__traceback__)
        outside = [frame for frame in frames if not frame.filename.startswith(_OTHERS)] or frames
        what, file, line = str(error), outside[-1].filename, outside[-1].lineno
    return f"{type(error).__name__}: {what} ({Path(file).name}, line {line})"
