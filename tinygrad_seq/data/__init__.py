"""Text on its way to a model: reading, splitting, numbering, cutting into batches; and tasks made up for learning.

All of it NumPy, on the host.
"""

from .agreement import Agreement, agreement
from .dates import dates
from .files import text_pieces
from .padding import pad_batch
from .readers import read_columns, read_labelled, read_lines, read_pairs
from .stream import LanguageModelStream
from .subword import SubwordBatch, SubwordTokenizer
from .synthetic import adding_problem, addition, anbn, copy, copy_memory, reversal
from .text import pydoc_topics, random_split, read_text, split
from .vocabulary import CharVocabulary, Vocabulary

__all__ = [
    "Agreement",
    "CharVocabulary",
    "LanguageModelStream",
    "SubwordBatch",
    "SubwordTokenizer",
    "Vocabulary",
    "adding_problem",
    "addition",
    "agreement",
    "anbn",
    "copy",
    "copy_memory",
    "dates",
    "pad_batch",
    "pydoc_topics",
    "random_split",
    "read_columns",
    "read_labelled",
    "read_lines",
    "read_pairs",
    "read_text",
    "reversal",
    "split",
    "text_pieces",
]
