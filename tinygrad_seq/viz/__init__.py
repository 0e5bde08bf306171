"""Pictures: of graphs, of losses, and a page that shows them."""

from .build import graph
from .diff import graph_diff
from .equations import Sizes, equation_graph, equations
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
    "Sizes",
    "Table",
    "Text",
    "check",
    "equation_graph",
    "equations",
    "fold",
    "fold_steps",
    "fold_to",
    "graph",
    "graph_diff",
    "loss_curve",
    "page",
]
