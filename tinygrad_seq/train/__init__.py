"""The loop around a model: tasks, the Trainer, checkpoints, and metrics of what it learned."""

from .anomaly import AnomalyError, detect_anomaly
from .bptt import detach, truncated_bptt
from .checkpoint import (
    Checkpoint,
    CheckpointError,
    latest_checkpoint,
    load_checkpoint,
    prune_checkpoints,
    save_checkpoint,
)
from .explain import explain_grad
from .gradient_flow import gradient_at_start, largest_singular_values, state_jacobians
from .language_model import LanguageModelTask
from .ledger import Ledger, memory_ledger
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
from .profiler import Profile, profile
from .trainer import History, Progress, Task, Trainer

__all__ = [
    "Accuracy",
    "AnomalyError",
    "Bleu",
    "Checkpoint",
    "CheckpointError",
    "History",
    "LanguageModelTask",
    "Ledger",
    "Profile",
    "Progress",
    "Span",
    "SpanScores",
    "Task",
    "Trainer",
    "bits_per_character",
    "bleu",
    "confusion_matrix",
    "detach",
    "detect_anomaly",
    "explain_grad",
    "gradient_at_start",
    "largest_singular_values",
    "latest_checkpoint",
    "load_checkpoint",
    "memory_ledger",
    "perplexity",
    "profile",
    "prune_checkpoints",
    "save_checkpoint",
    "sequence_accuracy",
    "span_scores",
    "spans",
    "state_jacobians",
    "token_accuracy",
    "tokenize_13a",
    "truncated_bptt",
]
