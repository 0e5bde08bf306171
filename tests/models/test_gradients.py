"""Gradients of the Transformers and of a tagger with a CRF: plain, differentiable, and numeric, for every parameter."""

from typing import Any

import numpy as np
import pytest

import tinygrad_seq as ts
from small_models import SMALL
from tinygrad_seq.testing import check_grads


@pytest.mark.parametrize("name", ["GPT", "BERT with both heads", "Transformer", "the loss of a CRF"])
def test_gradients(name: str) -> None:
    make, inputs, call = SMALL[name]
    ts.seed(0)
    model = make().eval().to("float64")
    rng = np.random.default_rng(0)
    for p in model.parameters():
        p.data += 0.2 * rng.standard_normal(p.shape)  # as drawn, some are 0, or so small that gradients are too
    parameters = model.parameters()

    def run(*arrays: ts.Tensor) -> Any:
        for p, array in zip(parameters, arrays, strict=True):
            p.data, p.place = array.data, array.place
        return call(model, *map(ts.tensor, inputs))

    check_grads(run, [p.data.copy() for p in parameters], order=1)
