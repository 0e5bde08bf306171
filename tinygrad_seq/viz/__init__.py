"""Pictures: of graphs, of losses, and a page that shows them."""

from .build import graph
from .cells import lstm_step_graph
from .page import Picture, Sample, Table, Text, page
from .plots import loss_curve
from .render import RenderError, check
from .value import Edge, Graph, Node, Part, fold, fold_steps, fold_to

__all__ = [
    "Edge",
    "Graph",
    "Node",
    "Part",
    "Picture",
    "RenderError",
    "Sample",
    "Table",
    "Text",
    "check",
    "fold",
    "fold_steps",
    "fold_to",
    "graph",
    "loss_curve",
    "lstm_step_graph",
    "page",
]
