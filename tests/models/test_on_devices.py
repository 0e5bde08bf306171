"""Models on every backend: a forward and a backward pass in which the host never waits, with the same numbers."""

from typing import Any

import numpy as np
import pytest

import tinygrad_seq as ts
from small_models import LENGTHS, SMALL, TOKENS, outputs
from tinygrad_seq import models


def run(name: str, place: Any) -> dict[str, np.ndarray]:
    """All outputs of a model, and the gradients of their weighted sum."""
    make, inputs, call = SMALL[name]
    ts.seed(0)
    model = make().to(place.device)
    out = outputs(call(model, *(place.tensor(x) for x in inputs)))
    rng = np.random.default_rng(1)
    sums = [(y * place.tensor(rng.standard_normal(y.shape).astype(np.float32))).sum() for y in out]
    names, parameters = zip(*model.named_parameters(), strict=True)
    gs = ts.grad(ts.ops.stack(sums).sum(), list(parameters))
    found = {f"output {k}": y for k, y in enumerate(out)}
    found |= {f"gradient of {name}": g for name, g in zip(names, gs, strict=True)}
    return {what: place.host(t) for what, t in found.items()}


@pytest.mark.parametrize("name", SMALL)
def test_a_model_computes_what_it_computes_on_the_cpu(name: str, device: Any) -> None:
    there = run(name, device)
    here = run(name, device._replace(name="numpy", device="cpu"))
    assert any(array.any() for what, array in here.items() if what.startswith("gradient"))
    for what, array in here.items():
        np.testing.assert_allclose(there[what], array, rtol=5e-5, atol=1e-6, err_msg=what)


@pytest.mark.parametrize("name", ["LSTM tagger", "classifier, attention", "classifier, max"])
def test_predictions_are_made_there(name: str, device: Any) -> None:
    ts.seed(0)
    model = SMALL[name].make()
    here = model.predict(TOKENS, LENGTHS).tolist()
    there = model.to(device.device).predict(device.tensor(TOKENS), device.tensor(LENGTHS))
    assert device.host(there).tolist() == here


def test_every_model_has_a_row() -> None:
    public = {c for c in vars(models).values() if isinstance(c, type) and issubclass(c, ts.nn.Module)}
    covered = {type(module) for row in SMALL.values() for _, module in row.make().named_modules()}
    assert not public - covered, "give it a row in tests/small_models.py"
