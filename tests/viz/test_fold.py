"""Folding: functions from a picture to a smaller one, in which nothing is lost count of."""

from hypothesis import given
from hypothesis import strategies as st

from tinygrad_seq.viz import Edge, Graph, Node, Part, fold, fold_to
from tinygrad_seq.viz.value import effort


def chain(n: int, part: str | None = None) -> Graph:
    nodes = tuple(Node(f"n{k}", "op", str(k), part=part, output=k == n - 1) for k in range(n))
    edges = tuple(Edge(f"n{k}", f"n{k + 1}", "a") for k in range(n - 1))
    return Graph("", nodes, edges, (Part("p0", "part", "module"),) if part else ())


def test_fold_joins_arrows_and_keeps_shared_labels() -> None:
    g = Graph(
        "",
        tuple(Node(f"n{k}", "op", "abcd"[k]) for k in range(4)),
        (Edge("n0", "n1", "x"), Edge("n0", "n2", "x"), Edge("n1", "n3", "y"), Edge("n2", "n3", "z"), Edge("n1", "n2")),
        (),
    )
    small = fold(g, [(["n1", "n2"], "both", None)])
    assert [(n.id, n.label, n.kind, n.count) for n in small.nodes] == [
        ("n0", "a", "op", 1),
        ("n1", "both", "fold", 2),
        ("n2", "d", "op", 1),
    ]
    assert small.edges == (Edge("n0", "n1", "x"), Edge("n1", "n2", ""))  # one arrow each; y and z disagree
    assert small.size == (2, 2)


def test_parts_that_hold_nothing_any_more_are_gone() -> None:
    g = chain(3, "p0")
    assert fold(g, [([n.id for n in g.nodes], "all", None)]).parts == ()
    assert fold(g, []) == g


@given(st.integers(1, 60), st.integers(3, 30), st.booleans())
def test_nothing_is_lost_count_of(n: int, most: int, framed: bool) -> None:
    g = chain(n, "p0" if framed else None)
    small = fold_to(g, most)
    assert len(small.nodes) <= max(most, 1) and sum(small.size) == n
    assert any(node.output for node in small.nodes)
    order = {node.id: k for k, node in enumerate(small.nodes)}
    assert all(order[edge.source] < order[edge.target] for edge in small.edges)
    assert small == g or n > most
    assert fold_to(small, most) == small


def test_effort_counts_rows() -> None:
    g = chain(4)
    assert effort(g) == 3 * 2  # labels
    far = Graph("", g.nodes, (*(Edge(e.source, e.target) for e in g.edges), Edge("n0", "n3")), ())
    assert effort(far) == 3 + 3
