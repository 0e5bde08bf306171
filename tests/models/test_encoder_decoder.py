"""Encoder and decoder without attention: padding, teacher forcing, writing; and pretrained weights of others."""

import string
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as ts
from house import ROOT
from tinygrad_seq.data import Vocabulary, pad_batch, reversal
from tinygrad_seq.models import AttentionDecoder, AttentionDecoderConfig, EncoderDecoder, EncoderDecoderConfig
from tinygrad_seq.models.generation import generate
from tinygrad_seq.testing import check_grads

CELLS = ["rnn", "gru", "lstm"]


def small(cell: str = "gru", **sizes: Any) -> EncoderDecoder:
    ts.seed(0)
    sizes = {"embedding_size": 3, "hidden_size": 4} | sizes
    model = EncoderDecoder(EncoderDecoderConfig(8, 7, cell=cell, **sizes)).to("float64")
    for p in model.parameters():
        p.data[...] *= 3  # so that an untrained model has something to say
    return model


SOURCE, LENGTHS = np.array([[4, 5, 6, 7, 3], [5, 3, 0, 0, 0], [7, 7, 4, 0, 0]]), [5, 2, 3]
TARGET = np.array([[1, 3, 4, 2, 0], [1, 5, 6, 4, 2], [1, 2, 0, 0, 0]])


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("num_layers", [1, 2])
def test_padding_of_the_source_changes_nothing(cell: str, num_layers: int) -> None:
    model = small(cell, num_layers=num_layers)
    together = model(SOURCE, TARGET[:, :-1], LENGTHS).numpy()
    for b, length in enumerate(LENGTHS):
        alone = model(SOURCE[b : b + 1, :length], TARGET[b : b + 1, :-1]).numpy()
        np.testing.assert_allclose(together[b], alone[0], rtol=1e-12, atol=1e-14)
    ignoring = model(SOURCE, TARGET[:, :-1]).numpy()
    assert np.abs(ignoring[1] - together[1]).max() > 1e-4


@pytest.mark.parametrize("cell", CELLS)
def test_teacher_forcing_and_stepping_give_the_same(cell: str) -> None:
    """The logits of each place are those of writing, where what was written is the target."""
    model = small(cell)
    forced = model(SOURCE, TARGET, LENGTHS).numpy()
    state = model.encode(SOURCE, np.array(LENGTHS))
    for t in range(TARGET.shape[1]):
        logits, state = model.step(TARGET[:, t : t + 1], state)
        np.testing.assert_allclose(logits.numpy(), forced[:, t], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("cell", CELLS)
def test_all_of_the_source_passes_through_the_vector(cell: str) -> None:
    """Nothing else is known of the source: from the same state, the same is said."""
    model = small(cell)
    state = model.encode(SOURCE, np.array(LENGTHS))
    swapped = model.select(state, np.array([2, 0, 1]))
    steps = [model.step(TARGET[:, :1], s)[0].numpy() for s in (state, swapped)]
    assert np.abs(steps[0][2] - steps[1][0]).max() < 1e-12 < np.abs(steps[0] - steps[1]).max()


def test_the_loss_is_the_mean_over_symbols_that_are_no_padding() -> None:
    model = small()
    log_p = ts.ops.log_softmax(model(SOURCE, TARGET[:, :-1], LENGTHS)).numpy()
    each = [log_p[b, t, v] for b, row in enumerate(TARGET[:, 1:]) for t, v in enumerate(row) if v]
    np.testing.assert_allclose(model.loss(SOURCE, TARGET, LENGTHS).item(), -np.mean(each), rtol=1e-12)


@pytest.mark.parametrize("cell", CELLS)
def test_gradients(cell: str) -> None:
    model = small(cell)
    names = [name for name, _ in model.named_parameters()]
    values = [p.data.copy() for p in model.parameters()]
    where = dict(model.named_parameters())

    def loss(*arrays: ts.Tensor) -> ts.Tensor:
        for name, array in zip(names, arrays, strict=True):
            where[name].data, where[name].place = array.data, array.place
        return model.loss(SOURCE, TARGET, LENGTHS)

    check_grads(loss, values)


def test_generation_in_every_way() -> None:
    model = small("lstm", num_layers=2)
    sources = [list(row[:n]) for row, n in zip(SOURCE, LENGTHS, strict=True)]
    for options in ({"temperature": 0}, {"beams": 3}, {}):
        ts.seed(5)
        batch = model.generate(sources, 6, **options)
        ts.seed(5)
        assert batch == [model.generate(source, 6, **options) for source in sources]
        assert all(2 not in row[:-1] and len(row) <= 6 for row in batch)  # it stops at eos
    sequence = [1]
    while len(sequence) <= 6 and sequence[-1] != 2:
        sequence.append(int(model([sources[0]], np.array([sequence])).numpy()[0, -1].argmax()))
    assert model.generate(sources[0], 6, temperature=0) == sequence[1:]
    assert len(model.generate(sources[0], 6, temperature=0, stop=[])) == 6


def test_bad_sources() -> None:
    model = small()
    with pytest.raises(ValueError, match="a source needs at least one symbol"):
        model.generate([], 3)
    with pytest.raises(IndexError, match="8 rows"):
        model.generate([8], 3)
    with pytest.raises(ValueError, match="one of rnn, gru, lstm, got 'tree'"):
        small("tree")


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_it_learns_to_say_short_strings_backwards(cell: str) -> None:
    """60 strings that it has not seen, all different: a decoder that knew nothing of them could say one at most."""
    pairs = list(dict(reversal(1500, seed=0, symbols=4, min_length=2, max_length=4)).items())
    vocabulary = Vocabulary.from_sequences("abcd")
    ts.seed(1)
    np.random.default_rng(0).shuffle(pairs)
    held_out, training = pairs[:60], pairs[60:]
    V = len(vocabulary)
    model = EncoderDecoder(EncoderDecoderConfig(V, V, embedding_size=16, hidden_size=48, cell=cell))
    optimizer = ts.optim.Adam(model.parameters(), lr=1e-2)
    source, lengths = pad_batch([vocabulary.encode(text) for text, _ in training])
    target, _ = pad_batch([vocabulary.encode(text, bos=True, eos=True) for _, text in training])
    rng = np.random.default_rng(1)
    for _ in range(300):
        rows = rng.integers(0, len(source), 64)
        loss = model.loss(source[rows], target[rows], lengths[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    written = model.generate([vocabulary.encode(text) for text, _ in held_out], 10, temperature=0)
    right = np.mean(["".join(vocabulary.decode(row)) == text for row, (_, text) in zip(written, held_out, strict=True)])
    print(f"{cell}: {right:.3f} right")
    assert right > 0.9


# -- weights of others

CHECKPOINT = ROOT.parent / "shared" / "data" / "g2p_en" / "checkpoint20.npz"
GRAPHEMES = ["<pad>", "<unk>", "</s>", *string.ascii_lowercase]
VOWELS = ["AA", "AE", "AH", "AO", "AW", "AY", "EH", "ER", "EY", "IH", "IY", "OW", "OY", "UH", "UW"]
CONSONANTS = "B CH D DH F G HH JH K L M N NG P R S SH T TH V W Y Z ZH".split()
# Each vowel with no stress, the first and the second; "UW" is there a fourth time.
PHONEMES = ["<pad>", "<unk>", "<s>", "</s>"]
PHONEMES += sorted([vowel + stress for vowel in VOWELS for stress in "012"] + ["UW"] + CONSONANTS)


def g2p() -> EncoderDecoder:
    """The grapheme-to-phoneme model of g2p-en, whose GRU is PyTorch's."""
    if not CHECKPOINT.exists():
        pytest.skip("the weights of g2p-en, ../shared/data/g2p_en, are not there")
    weights = np.load(CHECKPOINT)
    config = EncoderDecoderConfig(
        len(GRAPHEMES), len(PHONEMES), embedding_size=256, hidden_size=256, cell="gru", bos=2, eos=3
    )
    model = EncoderDecoder(config)
    names = {"source_embedding.weight": "enc_emb", "target_embedding.weight": "dec_emb"}
    names |= {"output.weight": "fc_w", "output.bias": "fc_b"}
    for ours, theirs in (("encoder", "enc"), ("decoder", "dec")):
        names |= {
            f"{ours}.{kind}_{of}_l0": f"{theirs}_{kind[0]}_{of}" for kind in ("weight", "bias") for of in ("ih", "hh")
        }
    model.load_state_dict({ours: weights[theirs] for ours, theirs in names.items()})
    return model


def words() -> dict[str, list[str]]:
    lines = (ROOT / "tests" / "models" / "g2p_en_phonemes.txt").read_text(encoding="utf-8").splitlines()
    return {word: phonemes for word, *phonemes in (line.split() for line in lines if not line.startswith("#"))}


def graphemes(word: str) -> list[int]:
    known = {letter: k for k, letter in enumerate(GRAPHEMES)}
    return [known.get(letter, 1) for letter in word] + [2]


def test_g2p_says_what_the_package_says() -> None:
    """834,890 parameters; 207 words in one padded batch, and some by themselves."""
    model, expected = g2p(), words()
    assert model.num_parameters() == 834_890 and len(expected) == 207
    written = model.generate([graphemes(word) for word in expected], 20, temperature=0, stop=3)
    found = {word: [PHONEMES[v] for v in row if v != 3] for word, row in zip(expected, written, strict=True)}
    assert found == expected
    for word in ("knight", "xylophone", "zzz"):
        assert [PHONEMES[v] for v in model.generate(graphemes(word), 20, temperature=0)[:-1]] == expected[word]


def test_g2p_by_beam_search_is_never_less_likely() -> None:
    model = g2p()
    chosen = list(words())[:40]
    state = model.encode(*pad_batch([graphemes(word) for word in chosen]))
    begin = np.full((len(chosen), 1), 2)
    greedy, beam = (
        np.array([sum(row) for row in generate(model, begin, 20, state=state, stop=3, **options).log_probs])
        for options in ({"temperature": 0}, {"beams": 4})
    )
    assert (beam >= greedy - 1e-4).all() and (beam > greedy + 1e-2).any()


@pytest.mark.parametrize(
    ("kind", "sizes"), [(EncoderDecoder, EncoderDecoderConfig), (AttentionDecoder, AttentionDecoderConfig)]
)
def test_how_large_the_embeddings_begin(kind: Any, sizes: Any) -> None:
    drawn = []
    for std in (1.0, 0.25):
        ts.seed(0)
        model = kind(sizes(9, 8, embedding_size=4, hidden_size=6, embedding_std=std))
        drawn.append({name: p.numpy() for name, p in model.named_parameters()})
    for name, array in drawn[0].items():
        np.testing.assert_array_equal(drawn[1][name], array * (0.25 if "embedding" in name else 1))
