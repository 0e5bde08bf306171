"""What is measured, by name: the rows, each a model at its sizes."""

from .rows import attention_decoder, bert, generation, gpt, language_model, small_ops, tagger, transformer
from .side_by_side import Row

OURS = ("numpy", "fast")
TRAINING = (*OURS, "products", "torch", "compile", "jax")
RELU = 5e-2  # the tolerance of a model that has some
OTHERS = ("autograd", "dezero", "tinygrad")  # slower by far: at one row alone


def _language_model(about: str, contenders: tuple[str, ...] = TRAINING, **sizes: object) -> Row:
    return Row(about, language_model, language_model.Sizes(**sizes), contenders)  # type: ignore[arg-type]


def _generation(about: str, **sizes: object) -> Row:
    return Row(about, generation, generation.Sizes(**sizes), (*OURS, "torch"), "tokens/s")  # type: ignore[arg-type]


ROWS = {
    "lstm-128": _language_model("LSTM, H 128", H=128),
    "lstm-256": _language_model("LSTM, H 256", (*TRAINING, *OTHERS), H=256),
    "lstm-512": _language_model("LSTM, H 512", H=512),
    "lstm-2x512": _language_model("LSTM, 2 layers of H 512", H=512, layers=2),
    "gru": _language_model("GRU, H 256", cell="gru"),
    "rnn": _language_model("tanh RNN, H 256", cell="rnn"),
    "tagger": Row("BiLSTM tagger, 2 layers, lengths", tagger, tagger.Sizes(), TRAINING),
    "gpt": Row("GPT, nanoGPT's CPU configuration", gpt, gpt.Sizes(), TRAINING),
    "bert": Row("BERT-mini, pre-training", bert, bert.Sizes(), TRAINING),
    "transformer": Row("Transformer for pairs, small", transformer, transformer.Sizes(), TRAINING, tolerance=RELU),
    "seq2seq": Row("GRU with MLP attention", attention_decoder, attention_decoder.Sizes(), TRAINING),
    "write-lstm-1": _generation("writing, LSTM H 256, batch 1", model="lstm", B=1),
    "write-lstm-32": _generation("writing, LSTM H 256, batch 32", model="lstm", B=32),
    "write-gpt-1": _generation("writing, GPT with a cache, batch 1", model="gpt", B=1, width=128),
    "write-gpt-32": _generation("writing, GPT with a cache, batch 32", model="gpt", B=32, width=128),
    "overhead": Row("operations on 1×1 tensors", small_ops, small_ops.Sizes(), (*OURS, "torch"), "µs an op"),
}
