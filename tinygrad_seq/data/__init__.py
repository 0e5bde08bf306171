"""Text on its way to a model: reading, splitting, numbering, cutting into batches; and tasks made up for learning.

All of it NumPy, on the host.
"""

from .agreement import Agreement, agreement
from .batches import (
    BucketedBatches,
    ClassificationBatch,
    PairBatch,
    TaggingBatch,
    TextBatch,
    classification_batches,
    length_mask,
    pair_batches,
    tagging_batches,
    text_batches,
)
from .dates import dates
from .download import DATA_SETS, DataSet, download
from .encoded import encode_file
from .files import text_pieces
from .padding import pad_batch
from .prefetch import Batches, Prefetch
from .readers import read_columns, read_labelled, read_lines, read_pairs
from .saved import AnyVocabulary, TextVocabulary, load_vocabulary, save_vocabulary, vocabulary_from_json
from .stream import LanguageModelStream, RandomBlocks
from .subword import SubwordBatch, SubwordTokenizer
from .synthetic import adding_problem, addition, anbn, copy, copy_memory, reversal
from .text import pydoc_topics, random_split, read_text, split
from .vocabulary import CharVocabulary, Labels, Vocabulary, WordVocabulary
from .words import Words, pad_words

__all__ = [
    "Agreement",
    "AnyVocabulary",
    "Batches",
    "BucketedBatches",
    "CharVocabulary",
    "ClassificationBatch",
    "DATA_SETS",
    "DataSet",
    "Labels",
    "LanguageModelStream",
    "PairBatch",
    "Prefetch",
    "RandomBlocks",
    "SubwordBatch",
    "SubwordTokenizer",
    "TaggingBatch",
    "TextBatch",
    "TextVocabulary",
    "Vocabulary",
    "WordVocabulary",
    "Words",
    "adding_problem",
    "addition",
    "agreement",
    "anbn",
    "classification_batches",
    "copy",
    "copy_memory",
    "dates",
    "download",
    "encode_file",
    "length_mask",
    "load_vocabulary",
    "pad_batch",
    "pad_words",
    "pair_batches",
    "pydoc_topics",
    "random_split",
    "read_columns",
    "read_labelled",
    "read_lines",
    "read_pairs",
    "read_text",
    "reversal",
    "save_vocabulary",
    "split",
    "tagging_batches",
    "text_batches",
    "text_pieces",
    "vocabulary_from_json",
]
