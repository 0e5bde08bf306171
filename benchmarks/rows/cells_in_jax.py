"""Recurrent layers in JAX, by `lax.scan`, with our parameters: what several rows share."""

from typing import Any


def layer(cell: str, p: Any, name: str, x: Any, state: Any = None, *, keep: Any = None, reverse: bool = False) -> Any:
    """All steps of one direction of a layer: h of each, (T, B, H), and the last state.

    Args:
        p: all parameters by name; name: a layer's, with a place for weight_ih and so on: "lstm.{}_l0".
        x: (T, B, D); state: the first one, zeros if not given.
        keep: (T, B, 1), True within a sequence; beyond it the state stays, and h is 0.
        reverse: from the last step to the first.
    """
    import jax
    import jax.numpy as jnp

    W, U, b, b_h = (p[name.format(kind)] for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
    H, B = U.shape[1], x.shape[1]
    if state is None:
        state = (jnp.zeros((B, H)),) * (2 if cell == "lstm" else 1)
    projected = x @ W.T + b

    def step(state: Any, inputs: Any) -> Any:
        a, within = inputs
        new = one_step(cell, a, state, U, b_h)
        if within is None:
            return new, new[0]
        return tuple(jnp.where(within, n, old) for n, old in zip(new, state, strict=True)), jnp.where(within, new[0], 0)

    state, h = jax.lax.scan(step, state, (projected, keep), reverse=reverse)
    return h, state


def one_step(cell: str, a: Any, state: Any, U: Any, b_h: Any) -> Any:
    """The next state, from a = x W + b and the state before."""
    import jax
    import jax.numpy as jnp

    sigmoid, h = jax.nn.sigmoid, state[0]
    u = h @ U.T + b_h
    if cell == "rnn":
        return (jnp.tanh(a + u),)
    if cell == "gru":
        (r, z, n), (u_r, u_z, u_n) = jnp.split(a, 3, -1), jnp.split(u, 3, -1)
        z = sigmoid(z + u_z)
        return ((1 - z) * jnp.tanh(n + sigmoid(r + u_r) * u_n) + z * h,)
    i, f, g, o = jnp.split(a + u, 4, -1)
    c = sigmoid(f) * state[1] + sigmoid(i) * jnp.tanh(g)
    return sigmoid(o) * jnp.tanh(c), c
