"""A Transformer's parts in JAX, with our parameters: what several rows share."""

from typing import Any


def linear(p: Any, name: str, x: Any) -> Any:
    return x @ p[f"{name}.weight"].T + p[f"{name}.bias"]


def norm(p: Any, name: str, x: Any, eps: float = 1e-5) -> Any:
    import jax

    centred = x - x.mean(-1, keepdims=True)
    return centred * jax.lax.rsqrt((centred**2).mean(-1, keepdims=True) + eps) * p[f"{name}.weight"] + p[f"{name}.bias"]


def attention(p: Any, name: str, heads: int, x: Any, memory: Any = None, *, causal: bool = False) -> Any:
    """Of x to itself, or to a memory."""
    import jax
    import jax.numpy as jnp

    B, _, D = x.shape
    W, b = p[f"{name}.in_proj_weight"], p[f"{name}.in_proj_bias"]
    if memory is None:
        parts = jnp.split(x @ W.T + b, 3, -1)
    else:
        parts = [x @ W[:D].T + b[:D], *jnp.split(memory @ W[D:].T + b[D:], 2, -1)]
    q, k, v = (part.reshape(B, -1, heads, D // heads) for part in parts)
    out = jax.nn.dot_product_attention(q, k, v, is_causal=causal)
    return linear(p, f"{name}.out_proj", out.reshape(x.shape))


def feed_forward(p: Any, name: str, x: Any, activation: Any) -> Any:
    return linear(p, f"{name}.linear2", activation(linear(p, f"{name}.linear1", x)))
