"""Text on its way to a model: reading, splitting, numbering, cutting into batches. All of it NumPy, on the host."""

from .stream import LanguageModelStream
from .text import pydoc_topics, read_text, split
from .vocabulary import CharVocabulary

__all__ = ["CharVocabulary", "LanguageModelStream", "pydoc_topics", "read_text", "split"]
