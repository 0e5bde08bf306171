"""Text on its way to a model: reading, splitting, numbering, cutting into batches. All of it NumPy, on the host."""

from tinygrad_seq.data.stream import LanguageModelStream
from tinygrad_seq.data.text import pydoc_topics, read_text, split
from tinygrad_seq.data.vocabulary import CharVocabulary

__all__ = ["CharVocabulary", "LanguageModelStream", "pydoc_topics", "read_text", "split"]
