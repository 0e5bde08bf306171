"""What can be trained: one job for each `tinygrad-seq train NAME`."""

from .bert import BERTJob
from .classifier import ClassifierJob
from .job import Config, Job, Prediction
from .pairs import Seq2Seq, TransformerJob
from .tagger import TaggerJob
from .text import CharLM, GPTJob, WordLM

JOBS: dict[str, type[Job]] = {
    job.name: job for job in (CharLM, WordLM, TaggerJob, ClassifierJob, Seq2Seq, TransformerJob, BERTJob, GPTJob)
}

__all__ = ["JOBS", "Config", "Job", "Prediction"]
