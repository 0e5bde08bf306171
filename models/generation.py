"""Writing: how symbols are chosen, one after another, from a model that says how likely each next symbol is."""

import operator
from collections.abc import Sequence
from typing import Any, NamedTuple, NoReturn, TypedDict, Unpack

import numpy as np

import tinygrad_seq as ts
from tinygrad_seq.core.random import numpy_generator
from tinygrad_seq.data.padding import pad_batch
from tinygrad_seq.nn import evaluating

Symbols = Sequence[int] | np.ndarray  # one sequence
Batch = Sequence[Symbols] | np.ndarray  # several, of any lengths


class Generated(NamedTuple):
    """What was written, prompt by prompt. Where a stop symbol came, it is the last of its row."""

    tokens: list[list[int]]
    log_probs: list[list[float]]  # log P(symbol | all before it), by the model itself: no temperature, nothing left out
    finished: list[bool]  # whether a stop symbol came


class Options(TypedDict, total=False):
    """How to choose: the options of `generate`, which says what each means."""

    temperature: float
    top_k: int | None
    top_p: float | None
    beams: int
    length_penalty: float
    stop: int | Sequence[int] | None


class Autoregressive(ts.nn.Module):
    """A model that writes from left to right: a subclass has `step`, and `select` for beam search."""

    def step(self, tokens: np.ndarray, state: Any) -> tuple[ts.Tensor, Any]:
        """Read tokens (B, T) after those of `state` (None: nothing yet) -> logits (B, V) of what comes next, state."""
        raise NotImplementedError(f"{type(self).__name__} has no step method")

    def select(self, state: Any, rows: np.ndarray) -> Any:
        """The state of a batch made of these rows, (B',) integers; a row may come several times, or not at all."""
        raise NotImplementedError(f"{type(self).__name__} has no select method, which beam search needs")

    def generate(self, prompt: Symbols | Batch, n: int, **options: Unpack[Options]) -> Any:
        """n symbols that follow the prompt, each chosen from the model's distribution given all before it.

        Args:
            prompt: at least one symbol; or several prompts, of any lengths.
            options: those of `tinygrad_seq.models.generation.generate`: temperature, top_k, top_p, beams,
                length_penalty, stop.
        Returns:
            A list of integers; for several prompts a list of such lists. A stop symbol, if one came, is the last.
        Raises:
            TypeError: where a part of the model is bidirectional, with the reason.
        """
        if any(getattr(part, "bidirectional", False) for _, part in self.named_modules()):
            refuse(self)
        rows, several = _rows("prompt", prompt)
        tokens = generate(self, rows, n, **options).tokens
        return tokens if several else tokens[0]


class SequenceToSequence(Autoregressive):
    """A model that writes one sequence after reading another: a subclass has `encode`, `step` and `select`.

    Its `config` has three symbols of the target: `bos` before its first one, `eos` after its last one, `pad` beyond it.
    """

    config: Any

    def loss(self, source: Any, target: Any, source_lengths: Any = None) -> ts.Tensor:
        """The mean of -log P(y_i | the source, y_<i) in nats: teacher forcing, the true symbols before are given.

        Args:
            source: (B, S), integers; source_lengths: (B,), where it is padded.
            target: (B, T), integers: bos, the symbols, eos, and pad up to T.
        """
        return ts.ops.cross_entropy(
            self(source, target[:, :-1], source_lengths), target[:, 1:], ignore_index=self.config.pad
        )

    def encode(self, source: np.ndarray, source_lengths: np.ndarray) -> Any:
        """Read sources (B, S), padded, (B,) symbols long -> the state before the first step."""
        raise NotImplementedError(f"{type(self).__name__} has no encode method")

    def generate(self, source: Symbols | Batch, n: int, **options: Unpack[Options]) -> Any:
        """The target of a source: up to n symbols after `bos`; it ends with `eos`, if that came.

        Args:
            source: at least one symbol; or several sources, of any lengths.
            options: those of `tinygrad_seq.models.generation.generate`; `stop` is `eos` unless given.
        Returns:
            A list of integers; for several sources a list of such lists.
        """
        rows, several = _rows("source", source)
        if options.get("stop") is None:
            options["stop"] = self.config.eos
        with evaluating(self):
            state = self.encode(*pad_batch(rows))
            begin = np.full((len(rows), 1), self.config.bos)
            tokens = generate(self, begin, n, state=state, **options).tokens
        return tokens if several else tokens[0]


def rows_of(state: Any, rows: np.ndarray, axis: int = 0) -> Any:
    """What `select` needs: these rows of a tensor, along its batch axis, or of each tensor in a NamedTuple."""
    if state is None:
        return None
    if isinstance(state, ts.Tensor):
        return state[(slice(None),) * axis + (rows,)]
    return type(state)(*(rows_of(part, rows, axis) for part in state))


def refuse(model: ts.nn.Module) -> NoReturn:
    """What `generate` of a bidirectional model does: a TypeError with the reason."""
    raise TypeError(
        f"{type(model).__name__} cannot write: it reads in both directions, so what it says of a position depends on "
        "the symbols after it, which do not exist yet while a text is written; use a model that reads from left to "
        "right, such as LanguageModel or GPT"
    )


def generate(
    model: Autoregressive,
    prompts: Batch,
    n: int,
    *,
    state: Any = None,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    beams: int = 1,
    length_penalty: float = 0.0,
    stop: int | Sequence[int] | None = None,
) -> Generated:
    """Up to n symbols after each prompt of a batch.

    With z the logits of the next symbol and τ the temperature, each is drawn from

        P(v) = softmax(z / τ)_v        τ = 0: the most likely symbol, always ("greedy")

    of which top_k and then top_p may leave a part, whose probabilities are scaled to the sum 1. With several beams
    nothing is drawn. Of the sequences y that it meets, beam search returns the one with the largest

        score(y) = log P(y) / |y|^α        α the length penalty, |y| counts the stop symbol

    where log P(y) = Σ_t log P(y_t | y_<t). At each length it keeps the most likely `beams` prefixes; every stop
    symbol after one of them ends a sequence. It is exact where nothing is cut off: with at least V^(n-1) beams.

    Prompts may differ in length, and there is no padding: what all have is read at once; where some are longer, their
    own next symbol stands in for a chosen one. Each prompt draws from its own source of random numbers, in order, so
    that a batch gives what its prompts give one after another, and `tinygrad_seq.seed` makes it repeatable.

    Args:
        model: is in evaluation mode meanwhile, and leaves no graph.
        prompts: B sequences, each of at least one symbol.
        state: what the model knows before the prompts, such as an encoded source.
        temperature: τ ≥ 0; below 1 the likely becomes more likely.
        top_k: draw from the k most likely symbols alone.
        top_p: draw from the smallest set of most likely symbols whose probability is at least p, 0 < p ≤ 1.
        beams: how many prefixes beam search keeps; 1 is no beam search.
        length_penalty: α ≥ 0; 0 prefers short sequences, 1 compares the mean log-probability of a symbol.
        stop: the symbols after which a sequence ends.
    Raises:
        ValueError: for an empty prompt, an option outside its range, or two that exclude each other.
        TypeError: for a prompt that is not made of integers, or a number that should be one.

    Sources: nucleus (top_p): Holtzman et al., 2020; top_k: Fan et al., 2018; dividing by |y|^α: Wu et al., 2016, §7,
    the simpler of their two forms (the other is ((5 + |y|) / 6)^α).

    >>> class Alphabet(Autoregressive):  # 0 1 2 3 …: after v comes v + 1
    ...     def step(self, tokens, state):
    ...         return ts.tensor(5.0 * np.eye(9)[tokens[:, -1] + 1]), state
    >>> generate(Alphabet(), [[0], [1, 2]], 4, temperature=0, stop=5).tokens
    [[1, 2, 3, 4], [3, 4, 5]]
    """
    _check(n, temperature, top_k, top_p, beams, length_penalty)
    rows, _ = _rows("prompt", prompts)
    stops = [] if stop is None else [operator.index(v) for v in np.atleast_1d(stop)]
    with evaluating(model):
        if n == 0:
            return Generated([[] for _ in rows], [[] for _ in rows], [False for _ in rows])
        if beams > 1:
            return _beam_search(model, rows, n, state, beams, length_penalty, stops)
        return _draw(model, rows, n, state, temperature, top_k, top_p, stops)


def _read(model: Autoregressive, chunk: np.ndarray, state: Any, stops: list[int]) -> tuple[np.ndarray, Any]:
    """Read more symbols of each row: log P(v) of every symbol that may come next, (B, V), and the state after them."""
    logits, state = model.step(chunk, state)
    V = logits.shape[-1]
    if not all(0 <= v < V for v in stops):
        raise ValueError(f"generate: the model has {V} symbols: expected stop symbols from 0 to {V - 1}, got {stops}")
    return _log_softmax(logits), state


# -- one symbol after another


def _draw(
    model: Autoregressive,
    prompts: list[np.ndarray],
    n: int,
    state: Any,
    temperature: float,
    top_k: int | None,
    top_p: float | None,
    stops: list[int],
) -> Generated:
    B = len(prompts)
    generators = [numpy_generator() for _ in prompts] if temperature else []
    out = Generated([[] for _ in prompts], [[] for _ in prompts], [False] * B)
    read = min(map(len, prompts))  # how many symbols of each row the model has read
    chunk = np.array([prompt[:read] for prompt in prompts])
    while True:
        log_p, state = _read(model, chunk, state, stops)
        if temperature == 0:
            chosen = log_p.argmax(-1)
        else:
            below = _kept(log_p, temperature, top_k, top_p).cumsum(-1)
            below /= below[:, -1:]
            u = [[rng.random() if read >= len(prompt) else 0] for rng, prompt in zip(generators, prompts, strict=True)]
            chosen = (below <= np.array(u)).sum(-1)
        chunk = chosen[:, None]  # what a finished row reads does not matter
        for b, prompt in enumerate(prompts):
            if read < len(prompt):
                chunk[b] = prompt[read]
            elif not out.finished[b] and len(out.tokens[b]) < n:
                v = int(chosen[b])
                out.tokens[b].append(v)
                out.log_probs[b].append(float(log_p[b, v]))
                out.finished[b] = v in stops
        if all(done or len(tokens) == n for done, tokens in zip(out.finished, out.tokens, strict=True)):
            return out
        read += 1


def _log_softmax(logits: ts.Tensor) -> np.ndarray:
    """log P(v) of every symbol, on the host in float64: (B, V)."""
    z = logits.numpy().astype(np.float64)
    largest = z.max(-1, keepdims=True)
    if not np.isfinite(largest).all():
        raise ValueError("generate: the model gave logits that are not finite, so no symbol can be chosen")
    z -= largest
    return z - np.log(np.exp(z).sum(-1, keepdims=True))


def _kept(log_p: np.ndarray, temperature: float, top_k: int | None, top_p: float | None) -> np.ndarray:
    """The distribution that is drawn from: (B, V), 0 for what is left out."""
    with np.errstate(over="ignore"):  # a tiny temperature: -inf is meant
        p = np.exp((log_p - log_p.max(-1, keepdims=True)) / temperature)
    p /= p.sum(-1, keepdims=True)
    if top_k is None and top_p is None:
        return p
    order = np.argsort(-p, -1, kind="stable")
    falling = np.take_along_axis(p, order, -1)
    if top_k is not None:
        falling[:, top_k:] = 0
        falling /= falling.sum(-1, keepdims=True)
    if top_p is not None:
        more_likely = falling.cumsum(-1)[:, :-1]  # the probability of all before the second, the third …
        falling[:, 1:] *= more_likely < top_p
        falling /= falling.sum(-1, keepdims=True)
    np.put_along_axis(p, order, falling, -1)
    return p


# -- beam search


class _Hypothesis(NamedTuple):
    """A sequence so far."""

    tokens: tuple[int, ...] = ()
    log_probs: tuple[float, ...] = ()
    log_p: float = 0.0  # of the whole
    score: float = -np.inf  # once it has ended
    finished: bool = False

    def then(self, v: int, log_p: float) -> "_Hypothesis":
        return _Hypothesis((*self.tokens, v), (*self.log_probs, log_p), self.log_p + log_p)


def _beam_search(
    model: Autoregressive, prompts: list[np.ndarray], n: int, state: Any, beams: int, alpha: float, stops: list[int]
) -> Generated:
    live = [[_Hypothesis()] for _ in prompts]  # of each prompt; the model's rows are all of them, one after another
    best = [_Hypothesis() for _ in prompts]  # of those that have ended
    read = min(map(len, prompts))
    chunk = np.array([prompt[:read] for prompt in prompts])
    while True:
        log_p, state = _read(model, chunk, state, stops)
        rows: list[int] = []  # where the next rows come from, and what they read
        symbols: list[int] = []
        end = 0
        for b, prompt in enumerate(prompts):
            first, end = end, end + len(live[b])
            if read < len(prompt):
                rows.append(first)
                symbols.append(prompt[read])
            elif live[b]:
                parents, live[b], best[b] = _extend(live[b], log_p[first:end], best[b], n, beams, alpha, stops)
                rows += [first + k for k in parents]
                symbols += [h.tokens[-1] for h in live[b]]
        if not rows:
            return Generated(
                [list(h.tokens) for h in best], [list(h.log_probs) for h in best], [h.finished for h in best]
            )
        state = model.select(state, np.array(rows))
        chunk = np.array(symbols)[:, None]
        read += 1


def _extend(
    live: list[_Hypothesis],
    log_p: np.ndarray,  # (live, V), of each symbol that may come next
    best: _Hypothesis,
    n: int,
    beams: int,
    alpha: float,
    stops: list[int],
) -> tuple[list[int], list[_Hypothesis], _Hypothesis]:
    """One symbol further: the numbers of those that go on, what becomes of them, and the best that has ended."""
    totals = log_p + np.array([[h.log_p] for h in live])  # log P of the whole
    length = len(live[0].tokens) + 1
    may_end = list(range(totals.shape[1])) if length == n else stops
    if may_end:
        k, column = np.unravel_index(totals[:, may_end].argmax(), (len(live), len(may_end)))
        v = may_end[column]
        score = float(totals[k, v] / length**alpha)
        if score > best.score:
            best = live[k].then(v, float(log_p[k, v]))._replace(score=score, finished=v in stops)
    totals[:, stops] = -np.inf
    # log P only falls, so no prefix can come to more than this.
    if length == n or totals.max() / n**alpha <= best.score:
        return [], [], best
    likeliest = [int(at) for at in np.argsort(-totals, None, kind="stable")[:beams] if totals.flat[at] > -np.inf]
    chosen = [divmod(at, totals.shape[1]) for at in likeliest]
    return [k for k, _ in chosen], [live[k].then(v, float(log_p[k, v])) for k, v in chosen], best


# -- what comes in


def _rows(what: str, sequences: Any) -> tuple[list[np.ndarray], bool]:
    """Sequences of symbols as rows of integers, and whether several were given."""
    if isinstance(sequences, ts.Tensor):
        sequences = sequences.numpy()
    several = isinstance(sequences, Sequence | np.ndarray) and len(sequences) > 0 and np.ndim(sequences[0]) > 0
    rows = [np.asarray(row) for row in (sequences if several else [sequences])]
    for row in rows:
        if row.ndim and not row.size:
            raise ValueError(f"generate: a {what} needs at least one symbol")
        if row.ndim != 1 or row.dtype.kind not in "iu":
            raise TypeError(f"generate: a {what} is a sequence of integers, got {row.dtype} {row.shape}")
    return rows, several


def _check(
    n: int, temperature: float, top_k: int | None, top_p: float | None, beams: int, length_penalty: float
) -> None:
    for name, count in {"n": n, "top_k": 1 if top_k is None else top_k, "beams": beams}.items():
        if not isinstance(count, int | np.integer):
            raise TypeError(f"generate: {name} is an integer, got {count!r}")
    if n < 0:
        raise ValueError(f"generate: n symbols, at least 0, got {n}")
    if not 0 <= temperature < np.inf:
        raise ValueError(f"generate: the temperature is at least 0 and finite, got {temperature}")
    if top_k is not None and top_k < 1:
        raise ValueError(f"generate: top_k is at least 1, got {top_k}")
    if top_p is not None and not 0 < top_p <= 1:
        raise ValueError(f"generate: top_p is a probability, 0 < top_p <= 1, got {top_p}")
    if beams < 1:
        raise ValueError(f"generate: beams is at least 1, got {beams}")
    if not 0 <= length_penalty < np.inf:
        raise ValueError(f"generate: the length penalty is at least 0 and finite, got {length_penalty}")
    if beams == 1 and length_penalty:
        raise ValueError("generate: the length penalty belongs to beam search: give beams=2 or more")
    if beams > 1 and (temperature not in (0, 1) or top_k is not None or top_p is not None):
        raise ValueError("generate: beam search draws nothing: it takes no temperature, top_k or top_p")
