"""Text on its way to a model: reading, splitting, numbering, cutting into batches; and tasks made up for learning.

All of it NumPy, on the host.
"""

from .agreement import Agreement, agreement
from .dates import dates
from .encoded import encode_file
from .files import text_pieces
from .padding import pad_batch
from .readers import read_columns, read_labelled, read_lines, read_pairs
from .saved import AnyVocabulary, TextVocabulary, load_vocabulary, save_vocabulary, vocabulary_from_json
from .stream import LanguageModelStream, RandomBlocks
from .subword import SubwordBatch, SubwordTokenizer
from .synthetic import adding_problem, addition, anbn, copy, copy_memory, reversal
from .text import pydoc_topics, random_split, read_text, split
from .vocabulary import CharVocabulary, Labels, Vocabulary, WordVocabulary

__all__ = [
    "Agreement",
    "AnyVocabulary",
    "CharVocabulary",
    "Labels",
    "LanguageModelStream",
    "RandomBlocks",
    "SubwordBatch",
    "SubwordTokenizer",
    "TextVocabulary",
    "Vocabulary",
    "WordVocabulary",
    "adding_problem",
    "addition",
    "agreement",
    "anbn",
    "copy",
    "copy_memory",
    "dates",
    "encode_file",
    "load_vocabulary",
    "pad_batch",
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
    "text_pieces",
    "vocabulary_from_json",
]
