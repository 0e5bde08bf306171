"""The expressions on which the stand-in and the real CuPy are compared, one a line, by subject.

In them `x` is a device array, float32 with values 0 to 11 and shape (3, 4); `xp` is the array module; `np` is NumPy.
"""

EXPRESSIONS: dict[str, str] = {
    "host arrays do not mix in": """
        x + np.ones(4, 'f')
        np.ones(4, 'f') + x
        np.asarray(x)
        xp.exp(np.ones(3))
        xp.exp([1.0, 2.0])
        [1.0, 2.0, 3.0, 4.0] + x
        x * np.array(2.0)
        x @ np.ones((4, 2), 'f')
        x.__iadd__(np.ones(4, 'f'))
        xp.where(np.array([True]), x, 0)
        xp.where(x > 0, np.ones(4, 'f'), 0)
        xp.concatenate([x, np.ones((3, 4), 'f')])
        xp.add(x, x, out=np.ones((3, 4), 'f'))
        xp.einsum('ij,kj', x, np.ones((3, 4), 'f'))
        xp.dot(x, np.ones((4, 2), 'f'))
        xp.array([x[0], np.ones(4, 'f')])
        x == np.ones(4, 'f')
        x > [1]
        xp.clip(x, np.zeros(4, 'f'), 5.0)
        xp.take_along_axis(x, np.array([[0]]), 1)
        xp.matmul(x, np.ones((4, 2), 'f'))
        xp.tensordot(x, np.ones((4, 2), 'f'), axes=1)
        xp.stack([x[0], 1.0])
        xp.stack([x[0], [1.0, 2.0, 3.0, 4.0]])
        xp.maximum(x, np.ones(4, 'f'))
        xp.sum([1.0, 2.0])
        xp.max([1.0, 2.0])
        xp.reshape([1.0, 2.0], (2, 1))
        xp.mean(1.0)
        xp.isnan([1.0])
        xp.argmax([1.0])
        xp.transpose([[1.0]])
        xp.zeros_like([1.0])
        xp.repeat([1.0], 2)
        xp.roll([1.0], 1)
        xp.take([1.0], 0)
        xp.cumsum([1.0])
        xp.expand_dims([1.0], 0)
        xp.dot([1.0], [1.0])
        xp.outer([1.0], [1.0])
    """,
    "Python asks for a value": """
        bool(x)
        bool(x.sum())
        float(x[0, 0])
        float(x)
        int(x.sum())
        complex(x.sum())
        [1, 2, 3][xp.asarray(1)]
        range(xp.asarray(3))
        len(x)
        len(x.sum())
        1.0 in x[0]
        list(x[0])[1]
        max(x[0])
        sum(x[0])
        f"{x.sum():.2f}"
        round(x.sum(), 2)
        hash(x)
        x.item()
        x[0, 0].item()
        x.tolist()
        x.get()
        xp.asnumpy(x)
        x.tobytes()
        bool(xp.allclose(x, x))
        x == None
        x != None
        x.sum() < 3
        x.__imatmul__
    """,
    "dtypes": """
        (x + np.float32(1)).dtype
        (x + np.float64(1)).dtype
        (x + 1.0).dtype
        (x * 2).dtype
        np.float32(2) * x
        np.float64(2) * x
        (x.astype('e') + 1.0).dtype
        (x.astype('i4') + 1).dtype
        (x.astype('i4') + 1.0).dtype
        (x.astype('i4') / 2).dtype
        (x.astype('i4') + x).dtype
        (x.astype('e') + x).dtype
        (x > 1) + (x > 2)
        ((x > 1) * 1.0).dtype
        xp.exp(x.astype('i4')).dtype
        xp.exp(x.astype('e')).dtype
        xp.exp(x > 1).dtype
        x.astype('i4').sum().dtype
        x.astype('e').sum().dtype
        (x > 1).sum().dtype
        x.mean().dtype
        x.astype('i8').mean().dtype
        x.astype('e').mean().dtype
        x.astype('e').var().dtype
        x.argmax(1).dtype
        type(x.sum()).__name__
        type(x[0, 0]).__name__
        xp.zeros((2, 2)).dtype
        xp.zeros(3, dtype=object)
        xp.array(['a'])
        xp.array([None])
        xp.array([1.0, 2.0]).dtype
        xp.array([1, 2]).dtype
        xp.array([True]).dtype
        xp.array(1.0).dtype
        x.astype('O')
        x.astype('f4', copy=False).dtype
        xp.ones_like(x, dtype='d')
        xp.result_type(x, xp.float64)
        xp.result_type(x, 1.0)
        xp.promote_types('f', 'd')
        xp.can_cast('f4', 'f8')
        xp.dtype('f')
        xp.float32(1)
        xp.float16(1) * x
        xp.bool_(True)
        xp.finfo('f').eps
        xp.iinfo('i4').max
        xp.issubdtype(x.dtype, xp.floating)
        xp.issubdtype(x.dtype, xp.generic)
        xp.inf
        xp.pi
        xp.newaxis
        x.view('i4').dtype
    """,
    "reading by index": """
        x[np.array([0, 1])]
        x[[0, 1]]
        x[[0, 1], [1, 2]]
        x[5]
        x[-4]
        x[0, 0, 0]
        x[xp.asarray([5])]
        x[xp.asarray([-1])]
        x[xp.asarray([0.5])]
        x[xp.asarray([], dtype='i4')]
        x[xp.asarray(1)]
        x[:, xp.asarray([1, 7])]
        x[xp.asarray([0, 1]), xp.asarray([1, 2])]
        x[xp.asarray([0, 1])[:, None], xp.asarray([1, 2])]
        x[xp.asarray([0, 1]), ..., 0]
        x[None, xp.asarray([0, 1])]
        x[x > 3]
        x[x[:, 0] > 3]
        x[True]
        x[False]
        x[0, True]
        x[1.0]
        x['a']
        x[()]
        x[np.int64(1)]
        x[::-1, ::2]
        x[:xp.asarray(2)]
        x[..., None].shape
        x[:, xp.newaxis].shape
        x[..., 1]
        x[0].shape
        x[-1, -1].shape
        x[4:].shape
        xp.take(x, xp.asarray([0, 1]), axis=1)
        xp.take(x, xp.asarray([0, 9]), axis=1)
        xp.take(x, xp.asarray([0, 1]), axis=1, mode='clip')
        xp.take(x, 2, axis=0)
        x.take(xp.asarray([0]))
        x.take(xp.asarray([-1, 13]))
        xp.take_along_axis(x, xp.asarray([[0], [1], [2]]))
        xp.take_along_axis(x, xp.asarray([[0], [1], [2]]), 1)
        xp.take_along_axis(x, xp.asarray([[0], [1], [6]]), 1)
        xp.take_along_axis(x, xp.asarray([[0], [1], [-1]]), axis=1)
    """,
    "writing by index": """
        x.__setitem__(slice(None), np.ones(4, 'f'))
        x.__setitem__(slice(0, 2), [1, 2, 3, 4])
        x.__setitem__((0, 0), 5.0)
        x.__setitem__((0, 0), np.float64(5))
        x.__setitem__((0, 0), np.array(5.0))
        x.__setitem__(7, 0)
        x.__setitem__(x > 3, 0)
        x.__setitem__(x > 3, x.sum())
        x.__setitem__(xp.asarray([0, 1]), 0)
        x.__setitem__(xp.asarray([0.5]), 0)
        x.__setitem__(Ellipsis, xp.ones(4, 'f'))
        x.__setitem__(Ellipsis, xp.ones(3, 'f'))
        after(x, x.__setitem__(xp.asarray([0, 2]), x[:2] + 1))
        after(x, x.__setitem__((slice(None), xp.asarray([0, 5])), x[:, :2] + 1))
        after(x, x.__setitem__((xp.asarray([0, 1]), xp.asarray([1, 2])), xp.asarray([7.0, 8.0])))
        after(x, x.__setitem__((0, slice(1, 3)), 9))
        after(x, xp.multiply.at(x, xp.asarray([0]), 2.0))
        after(x, xp.add.at(x, xp.asarray([0, 0]), 1.0))
        after(x, xp.add.at(x, (xp.asarray([0, 0]), xp.asarray([1, 1])), xp.asarray([1.0, 2.0], dtype='f')))
        after(x, xp.maximum.at(x, xp.asarray([0, 0]), 2.0))
        after(x, x.scatter_add(xp.asarray([0, 0]), 1.0))
        after(x, x.scatter_max(xp.asarray([0, 0]), 1.0))
        after(x, cupyx.scatter_add(x, xp.asarray([0, 0]), x[:2]))
        after(x, x.fill(2))
        after(x, xp.copyto(x, 1.0))
        after(x, xp.copyto(x, 1.0, where=x > 2))
        xp.putmask(x, x > 1, 0.0)
        xp.place(x, x > 1, 0.0)
    """,
    "in place": """
        after(x, x.__iadd__(1))
        x.__iadd__(xp.ones(4))
        x.__iadd__(xp.ones((5, 3, 4), 'f'))
        x.astype('i4').__iadd__(1.5)
        x.astype('i4').__itruediv__(2)
        after(x, xp.add(x, 1, out=x))
        xp.add(x, x, out=xp.ones((2, 2), 'f'))
        xp.add(x, 1.0, out=xp.ones((3, 4), 'i4'))
        xp.sum(x, axis=0, out=xp.ones(4, 'f'))
        xp.matmul(x, x.T, out=xp.ones((3, 3), 'f'))
        xp.exp(x, out=xp.ones((3, 4), 'd'))
        x.resize((2,))
        x.sort()
    """,
    "arithmetic": """
        -x
        abs(x)
        ~(x > 1)
        (x > 1) & (x < 3)
        x > np.float32(2)
        x < x
        2 - x
        2 / x
        1 / (x - 1)
        2 ** x
        x ** 0.5
        x ** 2
        x % 2
        x // 2
        divmod(x, 2)
        x + 'a'
        x + None
        x + (1.0, 2.0)
        x + x[:, :2]
        xp.sqrt(x)
        xp.sqrt(x - 3)
        xp.log(x)
        xp.exp(1.0)
        xp.exp(x * 100)
        xp.tanh(x)
        xp.expm1(x)
        xp.log1p(x)
        xp.sin(x)
        xp.power(x, 2)
        xp.maximum(x, 1)
        xp.maximum(x, None)
        xp.minimum(x, x[::-1])
        xp.logaddexp(x, x)
        xp.sign(x)
        xp.square(x)
        xp.reciprocal(x + 1)
        xp.floor(x / 2)
        xp.hypot(x, x)
        xp.rsqrt(x)
        xp.erf(x)
        cupyx.rsqrt(x + 1)
        cupyx.scipy.special.erf(x)
        cupyx.scipy.special.erf(x.astype('e')).dtype
        cupyx.scipy.special.expit(x)
        xp.logical_and(x, x)
        xp.logical_not(x)
        xp.isnan(x).any()
        xp.isfinite(x).all()
        xp.isclose(x, x)
        xp.nan_to_num(x / 0)
        xp.add(x, x, where=x > 0)
        xp.add(x, x, subok=True)
        xp.add(x, 1, dtype='d').dtype
        xp.add(x)
        xp.add.reduce(x)
        xp.add.outer(x[0], x[0])
        xp.clip(x, 0, None)
        xp.clip(x, None, 3)
        xp.clip(x, 2, 3)
        xp.clip(x, min=0)
        xp.clip(x, a_min=1, a_max=5)
        x.clip(0)
        x.clip(min=2, max=3)
        xp.where(x > 0, x, 0)
        xp.where(x > 0, 1.0, 0.0)
        xp.where(x > 0)
        xp.errstate(all='ignore')
        x.conj()
        x.round(1)
        xp.around(x, 1)
        xp.rint(x)
    """,
    "reductions": """
        x.sum().shape
        x.sum(where=x > 0)
        x.sum(initial=0)
        xp.sum(x, axis=0, keepdims=True)
        xp.sum(x, axis=(0, 1))
        xp.sum(x, axis=2)
        xp.sum(x, dtype='d').dtype
        xp.max(x, initial=0)
        xp.max(x[:0])
        xp.sum(x[:0])
        xp.argmax(x, axis=1)
        x.max(axis=1, keepdims=True)
        x.min()
        x.prod()
        x.any()
        x.all(axis=0)
        xp.any(x > 3)
        xp.mean(x, axis=(0, 1))
        xp.mean(x, axis=1, keepdims=True)
        xp.var(x, axis=0)
        xp.var(x, axis=0, ddof=1)
        x.std()
        xp.cumsum(x, axis=1)
        x.cumsum()
        xp.cumprod(x, axis=1)
        xp.median(x)
        xp.percentile(x, 50)
        xp.average(x)
        xp.count_nonzero(x)
        xp.allclose(x, x)
        xp.array_equal(x, x)
        xp.linalg.norm(x)
        xp.linalg.norm(x, axis=1, keepdims=True)
        xp.trace(x)
        x.trace()
        xp.ptp(x)
    """,
    "products": """
        xp.einsum('ij,kj->ik', x, x)
        xp.einsum('ij->j', x, optimize=True)
        xp.einsum('ij,jk', x, x.T)
        xp.dot(x, x.T)
        xp.matmul(x, x.T)
        xp.matmul(x, 2.0)
        x @ x.T
        x @ x
        x @ x[0]
        x[None] @ x.T[None]
        x @ 2.0
        x.astype('e') @ x.T.astype('e')
        x.astype('i4') @ x.T.astype('i4')
        x.dot(x.T)
        xp.tensordot(x, x.T, axes=1)
        xp.outer(x[0], x[0])
        xp.inner(x, x)
        xp.vdot(x[0], x[0])
        xp.vecdot(x, x)
        xp.convolve(x[0], x[0])
    """,
    "shapes": """
        x.reshape(4, 3)
        x.reshape((4, -1))
        x.reshape(-1)
        x.reshape(5, 2)
        x.reshape(xp.asarray([4, 3]))
        xp.reshape(x, (4, 3))
        xp.reshape(x, newshape=(4, 3))
        xp.reshape(x, shape=(4, 3))
        xp.transpose(x, (1, 0))
        x.transpose(1, 0)
        x.T.flags.c_contiguous
        x.swapaxes(0, 1)
        xp.moveaxis(x, 0, 1)
        x.squeeze()
        xp.squeeze(x[None])
        xp.squeeze(x, axis=0)
        x.ravel()
        x.flatten()
        x.diagonal()
        xp.expand_dims(x, 0)
        xp.broadcast_to(x[0], (2, 4))
        xp.broadcast_to(x, (2, 2))
        xp.broadcast_arrays(x, x[0])
        xp.broadcast_shapes((1, 4), (3, 1))
        xp.ndim(x)
        xp.shape(x)
        xp.size(x)
        xp.concatenate([x, x], axis=1)
        xp.concatenate((x, x), 1)
        xp.concatenate([])
        xp.stack([x, x])
        xp.stack([x, x], axis=-1)
        xp.vstack([x, x])
        xp.hstack([x, x])
        xp.split(x, 2, axis=1)
        xp.split(x, [1], axis=1)
        xp.split(x, 3, axis=1)
        xp.array_split(x, 3, axis=1)
        xp.pad(x, ((0, 1), (1, 0)))
        xp.pad(x, 1, mode='constant', constant_values=2)
        xp.tile(x, (2, 1))
        xp.repeat(x, 2, axis=0)
        xp.repeat(x, [1, 2, 0], axis=0)
        x.repeat(2)
        xp.flip(x, axis=0)
        xp.roll(x, 1, axis=0)
        xp.tril(x)
        xp.triu(x, k=1)
        xp.diag(x[0])
        xp.insert(x, 0, 1)
        xp.block([x])
        xp.lib.stride_tricks.sliding_window_view(x[0], 2)
        xp.lib.stride_tricks.as_strided(x, (2,), (4,))
        xp.ascontiguousarray(x.T).flags.c_contiguous
        xp.asfortranarray(x).flags.f_contiguous
    """,
    "making arrays": """
        xp.arange(5)
        xp.arange(0, 5, 2, dtype='f')
        xp.arange(xp.asarray(3))
        xp.zeros((2, 2), dtype='f')
        xp.zeros((xp.asarray(3),))
        xp.zeros(xp.asarray(3))
        xp.zeros_like(x)
        xp.empty((2,)).shape
        xp.empty_like(x).shape
        xp.ones((2, 3))
        xp.full((2,), x.sum())
        xp.full((2, 2), 3)
        xp.full_like(x, 2)
        xp.eye(3)
        xp.identity(2)
        xp.linspace(0, 1, 3)
        xp.geomspace(1, 2)
        xp.meshgrid(xp.arange(2), xp.arange(3))
        xp.indices((2, 2))
        xp.asarray(x) is x
        xp.asarray(x, dtype='d').dtype
        xp.asarray(x, copy=True) is x
        xp.array(x, copy=False) is x
        xp.asarray([x, x]).shape
        xp.array([x[0], x[1]]).shape
        xp.array([1.0, x[0, 0]])
        xp.asarray(np.ones(3))
        x.copy()
        x.nbytes
        x.device
        x.to_device('cpu')
        x.__array_namespace__()
        x.setflags(write=0)
        x.ctypes
        xp.random.randn(2).dtype
        xp.random.normal(0, 1, (2,)).shape
        xp.random.normal(0, 1, (2,), dtype='f').dtype
        xp.random.uniform(size=(2,)).shape
        xp.random.randint(0, 3, (2,)).dtype
        xp.random.get_state()
    """,
    "sorting and searching": """
        xp.sort(x, axis=1)
        xp.argsort(x[0])
        xp.argsort(x[0], stable=True)
        xp.argsort(-x, axis=-1)
        x.argsort(axis=-1)
        xp.argpartition(x[0], 1)
        xp.unique(x)
        xp.nonzero(x)
        x.nonzero()
        xp.flatnonzero(x)
        xp.histogram(x, 3)
        xp.bincount(xp.asarray([0, 1]))
        xp.digitize(x, xp.asarray([1.0, 2.0]))
        xp.searchsorted(x[0], xp.asarray([1.5]))
        xp.interp(x[0], x[0], x[0])
        xp.gradient(x[0])
        xp.diff(x)
        xp.apply_along_axis(lambda v: v, 0, x)
        xp.vectorize
        xp.ndenumerate(x)
        xp.nditer(x)
    """,
}

# Where the two are known to differ, with the reason.  Nothing else may.
KNOWN_DISAGREEMENTS: dict[str, str] = {
    "xp.einsum('ij,kj', x, np.ones((3, 4), 'f'))": "stricter: CuPy copies the host array to the device by itself",
    "xp.take_along_axis(x, np.array([[0]]), 1)": "stricter: CuPy copies the host array to the device by itself",
    "x[1.0]": "stricter: CuPy takes the integer part",
    "x['a']": "another exception: CuPy tries to make a number of the text",
    "xp.convolve(x[0], x[0])": "needs cuFFT, which hostcuda does not have",
    "xp.apply_along_axis(lambda v: v, 0, x)": "not offered by the stand-in",
    "xp.vectorize": "not offered by the stand-in",
}


def expressions() -> list[str]:
    """All expressions, in order."""
    lines = [line.strip() for block in EXPRESSIONS.values() for line in block.splitlines()]
    return [line for line in lines if line]
