"""The page in a real browser: opening, going into parts, finding, stepping, by mouse and by keyboard alone."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_seq as ts
from tinygrad_seq.viz import Graph, Node, Part, Summary
from viz.browser import browser, resize, visit
from viz.renderers import needs_dot

pytestmark = needs_dot
__all__ = ["browser"]  # the fixture

ENTER, ESCAPE, TAB, BACKSPACE, SPACE = "\ue007", "\ue00c", "\ue004", "\ue003", " "
RIGHT = "\ue014"


class Page:
    """What a reader sees and does."""

    def __init__(self, driver: Any, path: Path) -> None:
        self.driver = driver
        resize(driver, 1280, 800)
        visit(driver, path)

    def all(self, selector: str) -> list[Any]:
        visible = "return [...document.querySelectorAll(arguments[0])].filter((found) => found.checkVisibility())"
        return self.driver.execute_script(visible, selector)

    def one(self, selector: str) -> Any:
        (found,) = self.all(selector)
        return found

    def text(self, selector: str) -> str:
        return " ".join(found.text for found in self.all(selector))

    def box(self, label: str) -> Any:
        """The first box of the picture shown with this label."""
        return next(box for box, name in zip(self.all(".node"), self.labels(), strict=True) if name == label)

    def labels(self) -> list[str]:
        return self.driver.execute_script("return boxes().map((box) => box.label)")

    def press(self, *keys: str) -> None:
        for key in keys:
            self.driver.switch_to.active_element.send_keys(key)

    def click(self, selector: str) -> None:
        self.one(selector).click()

    @property
    def trail(self) -> list[str]:
        return [found.text for found in self.all("#trail button, #trail [aria-current]")]


@pytest.fixture(scope="module")
def language_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = ts.models.LanguageModel(ts.models.LanguageModelConfig(7, hidden_size=4))
    tokens = np.array([[4, 1, 6, 2], [3, 5, 0, 0]])
    logits, _ = model(tokens[:, :-1])
    loss = ts.ops.cross_entropy(logits, tokens[:, 1:])
    return ts.graph(loss, title="A language model").save(tmp_path_factory.mktemp("lm") / "lm.html")


def small_program() -> tuple[Graph, dict[str, Any]]:
    """A program with a weight that is used twice, its gradients noted in the picture, and those that ts.grad gives."""
    w = ts.tensor([0.5, -1.25], requires_grad=True)
    b = ts.tensor([0.125, 2.0], requires_grad=True)
    x = ts.tensor([3.0, 1.5])
    p = w * x
    s = p + b
    y = ts.ops.tanh(s)
    q = y * w
    loss = q.sum()
    there = {"w": w, "b": b, "p": p, "s": s, "y": y, "q": q, "loss": loss}
    found = ts.grad(loss, list(there.values()), retain_graph=True)
    gradients = {name: g.numpy() for name, g in zip(there, found, strict=True)}
    graph = ts.graph(loss, title="Small")

    def noted(node: Node) -> Node:
        g = gradients.get(node.label.partition(" = ")[0])
        if g is None:
            return node
        return replace(node, gradient=Summary(float(np.linalg.norm(g)), 0, 0, 0, 0, tuple(map(float, g.ravel()))))

    return replace(graph, nodes=tuple(map(noted, graph.nodes))), gradients


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_program()[0].save(tmp_path_factory.mktemp("small") / "small.html")


def numbers(text: str) -> list[float]:
    """What stands after the last colon."""
    return [float(x) for x in re.findall(r"-?\d+\.?\d*(?:e-?\d+)?", text.rpartition(":")[2].replace("−", "-"))]


def test_it_opens_whole_and_readable(browser: Any, language_model: Path) -> None:
    page = Page(browser, language_model)
    assert page.text("h1") == "A language model" and browser.title == "A language model"
    assert page.trail == []  # no trail, for this is the top
    stage = page.one("#stage").rect
    seen = [box.rect for box in page.all(".node")]
    assert len(seen) == 15
    for box in seen:
        assert stage["x"] <= box["x"] and box["x"] + box["width"] <= stage["x"] + stage["width"]
        assert stage["y"] <= box["y"] and box["y"] + box["height"] <= stage["y"] + stage["height"]
        assert box["height"] > 12
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []


def test_nothing_is_asked_of_the_network(browser: Any, language_model: Path) -> None:
    browser.get_log("performance")  # what was before
    page = Page(browser, language_model)
    page.box("LSTM sequence").click()
    page.press("s", "/")
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = {e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"}
    assert asked <= {language_model.as_uri(), "about:blank"} and language_model.as_uri() in asked
    # The page's own policy forbids it, too: nothing that is written into it can.
    script = "const done = arguments[0]; fetch('http://127.0.0.1:9/').catch((error) => done(String(error)))"
    assert "Failed to fetch" in browser.execute_async_script(script)
    refused = [
        entry["message"] for entry in browser.get_log("browser") if "Content Security Policy" in entry["message"]
    ]
    assert refused


def test_into_a_part_and_back(browser: Any, language_model: Path) -> None:
    page = Page(browser, language_model)
    page.box("LSTM sequence").click()
    assert page.trail == ["Whole picture", "LSTM sequence"]
    assert "t = 2 · lstm" in page.labels() and "embedding: Embedding" in page.labels()  # the neighbour outside
    page.box("t = 2 · lstm").click()
    assert page.trail == ["Whole picture", "LSTM sequence", "t = 2 · lstm"]
    assert "fₜ = σ" in page.labels() and "t = 1 · lstm" in page.labels()
    browser.back()
    assert page.trail == ["Whole picture", "LSTM sequence"]
    browser.forward()
    page.all("#trail button")[0].click()
    assert page.trail == [] and "LSTM sequence" in page.labels()


def test_a_link_leads_into_a_part(browser: Any, language_model: Path) -> None:
    page = Page(browser, language_model)
    page.box("LSTM sequence").click()
    address = browser.current_url
    browser.get("about:blank")
    browser.get(address)
    assert page.trail == ["Whole picture", "LSTM sequence"]
    browser.get("about:blank")
    browser.get(f"{language_model.as_uri()}#17.99999")  # what no page has shows the whole
    assert page.trail == []


def test_levels(browser: Any, language_model: Path) -> None:
    page = Page(browser, language_model)
    assert [tab.text for tab in page.all("[role=tab]")] == ["As drawn", "Closed", "1", "2", "3", "All"]
    sizes = []
    for key in "c123a":
        page.press(key)
        sizes.append(len(page.all(".node")))
    assert sizes == sorted(sizes) and len(set(sizes)) == 5
    assert page.text("[aria-selected=true]") == "All"
    page.press("c")
    assert page.labels() == ["model: LanguageModel", "loss = cross entropy"]
    page.all("[role=tab]")[2].click()
    page.press(RIGHT)
    assert page.text("[aria-selected=true]") == "2"
    page.press("d")
    assert page.text("[aria-selected=true]") == "As drawn"


def test_what_is_told_of_a_box(browser: Any, language_model: Path) -> None:
    page = Page(browser, language_model)
    page.box(next(name for name in page.labels() if name.endswith("weight_ih_l0"))).click()
    facts = page.text("#facts")
    assert page.text("#chosen").endswith("weight_ih_l0")
    assert "(16, 4)" in facts and "float32" in facts and "model: LanguageModel › lstm: LSTM" in facts
    assert "gradient\nnot computed" in facts and " 0" not in facts
    page.box("LSTM sequence").click()
    page.box("t = 2 · lstm").click()
    page.box("fₜ = σ").click()
    assert "f_t = σ(W_f x_t + U_f h_{t-1} + b_f)" in page.text("#facts") and "lstm.py, line" in page.text("#facts")


def test_finding_what_lies_in_closed_parts(browser: Any, language_model: Path) -> None:
    page = Page(browser, language_model)
    page.press("/", "f_t")
    assert re.fullmatch(r"0 here, \d+ in parts", page.text("#found"))
    page.press(ENTER)
    trail = ["Whole picture", "model: LanguageModel", "lstm: LSTM", "LSTM sequence", "t = 1 · lstm"]
    assert page.trail == trail
    assert "fₜ" in page.text("#chosen") and page.all(".node.hit.chosen")
    page.press(ENTER)
    page.one("#next").click()
    assert "of" in page.text("#found")
    assert page.all(".node.hit.chosen")
    page.press("/", ESCAPE)
    assert not page.all(".node.hit") and page.text("#found") == ""
    page.press("/", "logits")
    ends = set()
    for _ in range(6):
        page.press(ENTER)
        assert "logits" in page.text("#chosen")
        ends.add(page.trail[-1])
    assert "output: Linear · linear" in ends and "model: LanguageModel" in ends
    page.press("/", "no such thing")
    assert page.text("#found") == "no match" and not page.one("#next").is_enabled()


@pytest.mark.parametrize("query", ["(16, 4)", "LSTMSequence", "weight_hh", "lstm: LSTM", "Σ"])
def test_finding_by_shape_operation_and_path(browser: Any, language_model: Path, query: str) -> None:
    page = Page(browser, language_model)
    page.press("/", query)
    assert re.match(r"\d+ here", page.text("#found"))


def test_stepping_back_through_the_whole_gradient(browser: Any, small: Path) -> None:
    _, gradients = small_program()
    page = Page(browser, small)
    assert page.text("#told") == "The gradient begins at L = loss, where ∂L/∂L = 1."
    order = [("loss", "Σ"), ("q", "⊙"), ("y", "tanh"), ("s", "+"), ("p", "⊙")]
    rules = {"loss": "stretch(g)", "q": "g ⊙ b", "y": "g ⊙ (1 − out²)", "s": "+= g", "p": "g ⊙ b"}
    arrived = []
    for k, (name, label) in enumerate(order):
        page.click("#step")
        told = page.text("#told")
        assert told.startswith(f"Step {k + 1} of 5: {name} = {label}") and rules[name] in told
        assert page.text(".node.now").startswith(name)
        line = next(line for line in told.splitlines() if line.startswith(f"g = ∂L/∂{name}:"))
        np.testing.assert_allclose(numbers(line), gradients[name].ravel(), rtol=1e-3)
        for item in page.all("#told li"):
            source, *_, so_far = item.text.splitlines()
            arrived.append((source.partition(",")[0], so_far))
    assert [name for name, _ in arrived] == ["q", "y", "w", "s", "p", "b", "w"]
    assert arrived[2][1] == "1 of 2 parts so far"  # w waits for what it did in p
    for name, so_far in arrived[:2] + arrived[3:]:
        np.testing.assert_allclose(numbers(so_far), gradients[name].ravel(), rtol=1e-3)
    assert "2 of 2 parts" in arrived[-1][1] and "arrived everywhere" in page.text("#told")
    assert not page.one("#step").is_enabled()
    page.click("#back")
    assert page.text("#told").startswith("Step 4 of 5")
    page.click("#reset")
    assert not page.all(".node.now") and not page.one("#back").is_enabled()


def test_without_gradients_it_says_so(browser: Any, language_model: Path) -> None:
    page = Page(browser, language_model)
    page.press("s")
    told = page.text("#told")
    assert "g = ∂L/∂loss: not computed" in told and "ts.graph(loss, grad=True)" in told
    assert "One kernel computes this derivative. Its definition: L = - Σ_n" in told
    page.box("LSTM sequence").click()
    page.press("s", "s")
    assert "stack" in page.text("#told") and "t = 2 · lstm, here x₂" in page.text("#told")


def test_playing_ends_by_itself(browser: Any, small: Path) -> None:
    page = Page(browser, small)
    browser.execute_script("const slow = setInterval; window.setInterval = (run) => slow(run, 20)")
    page.press("p")
    assert page.one("#play").get_attribute("aria-pressed") == "true"
    browser.execute_async_script("const done = arguments[0]; setTimeout(done, 400)")
    assert page.text("#told").startswith("Step 5 of 5") and page.one("#play").get_attribute("aria-pressed") == "false"


def test_by_keyboard_alone(browser: Any, language_model: Path) -> None:
    page = Page(browser, language_model)
    browser.execute_script("stage.focus()")
    for _ in range(30):
        page.press(TAB)
        if page.text("#chosen") == "LSTM sequence":
            break
    assert page.text(".chosen").startswith("LSTM sequence")
    outline = browser.execute_script(
        "return getComputedStyle(document.activeElement.querySelector('path')).strokeWidth"
    )
    assert float(outline.removesuffix("px")) > 3  # one sees where one is
    page.press(ENTER)
    assert page.trail == ["Whole picture", "LSTM sequence"]
    page.press(BACKSPACE)
    assert page.trail == []
    page.press("s", "s", "b")
    assert page.text("#told").startswith("Step 1 of")
    page.press("r", "/", "tanh", ENTER, ENTER, ESCAPE, ESCAPE)
    assert page.text("#query") == ""
    for k in range(len(page.trail), 1, -1):
        assert len(page.trail) == k
        page.press(ESCAPE)
    assert page.trail == []


def test_moving_and_zooming(browser: Any, language_model: Path) -> None:
    page = Page(browser, language_model)
    view = "return svgs[picture()].getAttribute('viewBox').split(' ').map(Number)"
    before = browser.execute_script(view)
    page.press(RIGHT)
    assert browser.execute_script(view)[0] > before[0]
    page.press("+", "+")
    assert browser.execute_script(view)[2] < before[2] * 0.7
    page.press("0")
    assert browser.execute_script(view) == pytest.approx(before, abs=0.02)
    wheel = "stage.dispatchEvent(new WheelEvent('wheel', Object.assign({clientX: 300, clientY: 300}, arguments[0])))"
    browser.execute_script(wheel, {"deltaY": -240})  # a mouse
    assert browser.execute_script(view)[2] < before[2]
    page.press("0")
    browser.execute_script(wheel, {"deltaY": 12, "deltaX": 5})  # two fingers slide on a touch pad
    moved = browser.execute_script(view)
    assert moved[2] == pytest.approx(before[2], abs=0.02) and moved[0] > before[0] and moved[1] > before[1]
    page.press("0")
    browser.execute_script(wheel, {"deltaY": -10, "ctrlKey": True})  # and pinch
    assert browser.execute_script(view)[2] < before[2]
    page.press("0")
    from selenium.webdriver import ActionChains

    box = page.box("LSTM sequence")  # a drag that begins on a box opens nothing
    ActionChains(browser).drag_and_drop_by_offset(box, 60, -40).perform()
    assert browser.execute_script(view)[0] < before[0] and page.trail == []


@pytest.mark.parametrize("width", [320, 760, 1280])
def test_every_width(browser: Any, language_model: Path, width: int) -> None:
    page = Page(browser, language_model)
    resize(browser, width, 640)
    browser.execute_async_script("requestAnimationFrame(arguments[0])")
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    for selector in ("#stage", "#query", "#step", "#fit", "#tabs"):
        place = page.one(selector).rect
        assert place["x"] >= 0 and place["x"] + place["width"] <= width and place["y"] + place["height"] < 641
    assert page.one("#stage").rect["height"] > 150


def test_for_those_who_listen(browser: Any, language_model: Path) -> None:
    page = Page(browser, language_model)
    page.press("s")
    for svg in page.all("section.picture > svg"):
        assert svg.get_attribute("role") == "group" and svg.get_attribute("aria-label") == "A language model"
    first = "return svgs.map((svg) => [svg.children[0].tagName, svg.children[1].tagName])"
    assert all(tags == ["title", "desc"] for tags in browser.execute_script(first))
    assert {box.get_attribute("role") for box in page.all(".node")} == {"button"}
    assert page.box("LSTM sequence").accessible_name.startswith("LSTM sequence")
    assert {browser.find_element("id", name).get_attribute("aria-live") for name in ("told", "found")} == {"polite"}
    ids = browser.execute_script("return [...document.querySelectorAll('[id]')].map((e) => e.id)")
    assert len(ids) == len(set(ids))


def test_it_moves_less_where_that_is_asked_for(browser: Any, small: Path) -> None:
    page = Page(browser, small)
    page.press("s")
    moves = "return getComputedStyle(document.querySelector('.flows path')).animationName"
    assert browser.execute_script(moves) == "back"
    asked = {"features": [{"name": "prefers-reduced-motion", "value": "reduce"}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", asked)
    assert browser.execute_script(moves) == "none"
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [], "media": "print"})
    assert not page.one("#stage").find_element("id", "zoom").is_displayed()
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [], "media": ""})


NASTY = (
    "</script><script>document.title='x'</script>",
    "<!-- a",
    '"quoted" \\n \u2028 {}',
    "<img src=x onerror=alert(1)>",
)


def test_labels_are_text(browser: Any, tmp_path: Path) -> None:
    nodes = tuple(Node(f"n{k}", "op", name, equation=name, part="p0") for k, name in enumerate(NASTY))
    path = Graph(NASTY[0], nodes, (), (Part("p0", NASTY[3], "module"),)).save(tmp_path / "nasty.html")
    page = Page(browser, path)
    assert browser.title == NASTY[0] and page.text("h1") == " ".join(NASTY[0].split())
    page.press("a")
    assert page.labels() == list(NASTY)
    page.box(NASTY[2]).click()
    assert '"quoted"' in page.text("#chosen")
    assert not page.all("img") and len(browser.find_elements("tag name", "script")) == 2
