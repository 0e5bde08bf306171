"""Complete models, one file each: its config first, then the model, readable on its own."""

from .attention_decoder import AttentionDecoder, AttentionDecoderConfig
from .bert import BERT, BERTConfig, BERTForPreTraining, MaskedLMHead, NextSentenceHead
from .classifier import Classifier, ClassifierConfig
from .encoder_decoder import EncoderDecoder, EncoderDecoderConfig
from .feedforward_lm import FeedForwardLM, FeedForwardLMConfig
from .gpt import GPT, GPTConfig
from .language_model import LanguageModel, LanguageModelConfig
from .most_frequent_tag import MostFrequentTag, MostFrequentTagConfig
from .naive_bayes import NaiveBayes, NaiveBayesConfig
from .ngram import NGram, NGramConfig
from .tagger import Tagger, TaggerConfig
from .transformer import Transformer, TransformerConfig

__all__ = [
    "BERT",
    "GPT",
    "AttentionDecoder",
    "AttentionDecoderConfig",
    "BERTConfig",
    "BERTForPreTraining",
    "Classifier",
    "ClassifierConfig",
    "EncoderDecoder",
    "EncoderDecoderConfig",
    "FeedForwardLM",
    "FeedForwardLMConfig",
    "GPTConfig",
    "LanguageModel",
    "LanguageModelConfig",
    "MaskedLMHead",
    "MostFrequentTag",
    "MostFrequentTagConfig",
    "NGram",
    "NGramConfig",
    "NaiveBayes",
    "NaiveBayesConfig",
    "NextSentenceHead",
    "Tagger",
    "TaggerConfig",
    "Transformer",
    "TransformerConfig",
]
