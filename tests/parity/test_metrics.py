"""Span F1 against seqeval, BLEU against sacrebleu: the same numbers for whatever comes."""

import random
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.shared import shared
from tinygrad_seq.data import read_columns, read_pairs
from tinygrad_seq.train import SpanScores, bleu, span_scores, spans, tokenize_13a

many = settings(deadline=None, max_examples=400, derandomize=True)
EXACT = 1e-12

tag = st.sampled_from(["O", "B", "I"] + [f"{mark}-{kind}" for mark in "BIES" for kind in ("X", "Y", "Y-Z")])
both = tag.flatmap(lambda t: st.tuples(st.just(t), st.just(t) | tag))  # often the same, so that spans are right
tagged = st.lists(
    st.lists(both, max_size=8).map(lambda pairs: tuple(map(list, zip(*pairs, strict=True))) or ([], [])),
    min_size=1,
    max_size=4,
).map(lambda pairs: tuple(map(list, zip(*pairs, strict=True))))


def the_real_one():
    return pytest.importorskip(
        "seqeval.metrics.sequence_labeling", reason="seqeval is not installed: span F1 is not compared with it"
    )


def assert_seqevals_numbers(predicted: list[list[str]], targets: list[list[str]], scores: SpanScores) -> None:
    seqeval = the_real_one()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where there is nothing to divide by
        theirs = seqeval.precision_recall_fscore_support(targets, predicted, average="micro")
        by_type = seqeval.precision_recall_fscore_support(targets, predicted, average=None)
    assert (scores.precision, scores.recall, scores.f1) == pytest.approx(theirs[:3], abs=EXACT)
    assert scores.expected.total() == theirs[3]
    found = [(s.precision, s.recall, s.f1, s.expected.total()) for s in scores.by_type().values()]
    assert found == [pytest.approx(row, abs=EXACT) for row in zip(*by_type, strict=True)]


@many
@given(tagged)
def test_span_scores(sentences):
    predicted, targets = sentences
    assert_seqevals_numbers(predicted, targets, span_scores(predicted, targets))
    seqeval = the_real_one()
    for tags in predicted:
        assert [(s.type, s.begin, s.end - 1) for s in spans(tags)] == seqeval.get_entities(tags)


def test_span_scores_of_real_tags():
    targets = [tags for _, tags in read_columns(shared("wnut17/emerging.test.annotated"))]
    rng = random.Random(0)
    kinds = sorted({t for tags in targets for t in tags})
    predicted = [[rng.choice(kinds) if rng.random() < 0.1 else t for t in tags] for tags in targets]
    scores = span_scores(predicted, targets)
    assert 0.1 < scores.f1 < 0.7 and scores.expected.total() == 1079
    assert_seqevals_numbers(predicted, targets, scores)
    parts = [span_scores(predicted[k : k + 100], targets[k : k + 100]) for k in range(0, len(targets), 100)]
    assert sum(parts, SpanScores()) == scores


def their_bleu(hypotheses, references, **options):
    """sacrebleu's wants as many references for each, in columns; None stands for none."""
    sacrebleu = pytest.importorskip("sacrebleu", reason="sacrebleu is not installed: BLEU is not compared with it")
    columns = [[r[k] if k < len(r) else None for r in references] for k in range(max(map(len, references)))]
    return sacrebleu.corpus_bleu(hypotheses, columns, force=True, **options)


def assert_sacrebleus_numbers(ours, theirs) -> None:
    assert (list(ours.matches), list(ours.totals)) == (theirs.counts, theirs.totals)
    assert (ours.length, ours.reference_length) == (theirs.sys_len, theirs.ref_len)
    assert ours.brevity_penalty == pytest.approx(theirs.bp, abs=EXACT)
    assert ours.score == pytest.approx(theirs.score, rel=EXACT, abs=EXACT)


text = st.text(st.sampled_from("ab1 .,-'&;\n$éA") | st.characters(codec="utf-8"), max_size=14)
sentence = st.lists(st.sampled_from(["the", "a", "cat", "mat", "sat", "."]), max_size=9).map(" ".join)


@many
@given(text | st.sampled_from(["5.,.6", "&amp;lt; x", "<skipped>-\n", "1,234.5-6", "..5,", "x-\n", " \u2028."]))
def test_tokenize_13a(text):
    sacrebleu = pytest.importorskip("sacrebleu.tokenizers.tokenizer_13a")
    assert tokenize_13a(text) == sacrebleu.Tokenizer13a()(text.rstrip()).split()


@many
@given(st.lists(st.tuples(sentence | text, st.lists(sentence | text, min_size=1, max_size=3)), min_size=1, max_size=4))
def test_bleu_of_texts(pairs):
    hypotheses, references = map(list, zip(*pairs, strict=True))
    assert_sacrebleus_numbers(bleu(hypotheses, references), their_bleu(hypotheses, references))


@many
@given(st.lists(st.tuples(sentence, st.lists(sentence, min_size=1, max_size=3)), min_size=1, max_size=4))
def test_bleu_of_tokens(pairs):
    hypotheses, references = map(list, zip(*pairs, strict=True))
    ours = bleu([h.split() for h in hypotheses], [[r.split() for r in several] for several in references])
    assert_sacrebleus_numbers(ours, their_bleu(hypotheses, references, tokenize="none"))


def test_bleu_of_a_real_corpus():
    by_source: dict[str, list[str]] = {}
    for source, target in read_pairs(shared("tatoeba_eng_fra/fra.txt")):
        by_source.setdefault(source, []).append(target)
    rng = random.Random(0)
    references = list(by_source.values())
    hypotheses = [rng.choice(several) for several in references]
    hypotheses = [" ".join(w for w in h.split(" ") if rng.random() < 0.9) for h in hypotheses]
    ours = bleu(hypotheses, references)
    assert 50 < ours.score < 95
    assert_sacrebleus_numbers(ours, their_bleu(hypotheses, references))
    parts = [bleu(hypotheses[k : k + 999], references[k : k + 999]) for k in range(0, len(references), 999)]
    assert sum(parts, type(ours)()) == ours
