"""The loop around a model: tasks, the Trainer, checkpoints."""

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
from .trainer import History, Progress, Task, Trainer

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "History",
    "LanguageModelTask",
    "Progress",
    "Task",
    "Trainer",
    "detach",
    "explain_grad",
    "gradient_at_start",
    "largest_singular_values",
    "latest_checkpoint",
    "load_checkpoint",
    "prune_checkpoints",
    "save_checkpoint",
    "state_jacobians",
    "truncated_bptt",
]
