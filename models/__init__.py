"""Complete models, one file each: its config first, then the model, readable on its own."""

from .classifier import Classifier, ClassifierConfig
from .feedforward_lm import FeedForwardLM, FeedForwardLMConfig
from .language_model import LanguageModel, LanguageModelConfig
from .ngram import NGram, NGramConfig
from .tagger import Tagger, TaggerConfig

__all__ = [
    "Classifier",
    "ClassifierConfig",
    "FeedForwardLM",
    "FeedForwardLMConfig",
    "LanguageModel",
    "LanguageModelConfig",
    "NGram",
    "NGramConfig",
    "Tagger",
    "TaggerConfig",
]
