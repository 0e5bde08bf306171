"""The loop around a model: tasks, the Trainer, checkpoints, and metrics of what it learned."""

from .blocks import BlockTask
from .bptt import detach, truncated_bptt
from .callback import Callback, History, Progress
from .checkpoint import (
    Checkpoint,
    CheckpointError,
    best_checkpoint,
    latest_checkpoint,
    load_checkpoint,
    prune_checkpoints,
    save_checkpoint,
)
from .classification import ClassificationTask
from .explain import explain_grad
from .gradient_flow import gradient_at_start, largest_singular_values, state_jacobians
from .interrupt import Interrupted
from .language_model import LanguageModelTask
from .log import RunLog, read_log
from .masked import MaskedBatch, MaskedLanguageModelTask
from .metrics import (
    Accuracy,
    Bleu,
    Span,
    SpanScores,
    bits_per_character,
    bleu,
    confusion_matrix,
    perplexity,
    sequence_accuracy,
    span_scores,
    spans,
    token_accuracy,
    tokenize_13a,
)
from .resume import begin
from .tagging import TaggingTask
from .task import Task
from .trainer import NotFinite, Trainer
from .translation import TranslationTask

__all__ = [
    "Accuracy",
    "Bleu",
    "BlockTask",
    "Callback",
    "Checkpoint",
    "CheckpointError",
    "ClassificationTask",
    "History",
    "Interrupted",
    "LanguageModelTask",
    "MaskedBatch",
    "MaskedLanguageModelTask",
    "NotFinite",
    "Progress",
    "RunLog",
    "Span",
    "SpanScores",
    "TaggingTask",
    "Task",
    "Trainer",
    "TranslationTask",
    "begin",
    "best_checkpoint",
    "bits_per_character",
    "bleu",
    "confusion_matrix",
    "detach",
    "explain_grad",
    "gradient_at_start",
    "largest_singular_values",
    "latest_checkpoint",
    "load_checkpoint",
    "perplexity",
    "prune_checkpoints",
    "read_log",
    "save_checkpoint",
    "sequence_accuracy",
    "span_scores",
    "spans",
    "state_jacobians",
    "token_accuracy",
    "tokenize_13a",
    "truncated_bptt",
]
