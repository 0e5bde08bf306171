"""Pictures: of graphs, of training, of attention and gates, and a page that shows them."""

from .build import graph
from .curves import gradient_plot, parameter_histogram, schedule_plot, singular_value_plot
from .diff import graph_diff
from .equations import Sizes, equation_graph, equations
from .heat_maps import attention_plot, confusion_plot, gate_plot
from .page import Picture, Sample, Table, Text, page
from .plots import loss_curve
from .render import RenderError, check
from .repeats import fold_repeats
from .tracing import trace
from .value import Edge, Graph, Node, Part, Summary, close, fold, fold_depth, fold_steps, fold_to

__all__ = [
    "Edge",
    "Graph",
    "Node",
    "Part",
    "Picture",
    "RenderError",
    "Sample",
    "Sizes",
    "Summary",
    "Table",
    "Text",
    "attention_plot",
    "check",
    "close",
    "confusion_plot",
    "equation_graph",
    "equations",
    "fold",
    "fold_depth",
    "fold_repeats",
    "fold_steps",
    "fold_to",
    "gate_plot",
    "gradient_plot",
    "graph",
    "graph_diff",
    "loss_curve",
    "page",
    "parameter_histogram",
    "schedule_plot",
    "singular_value_plot",
    "trace",
]
