"""Complete models, one file each: its config first, then the model, readable on its own."""

from .language_model import LanguageModel, LanguageModelConfig
from .ngram import NGram, NGramConfig

__all__ = ["LanguageModel", "LanguageModelConfig", "NGram", "NGramConfig"]
