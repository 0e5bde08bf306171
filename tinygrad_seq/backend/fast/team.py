"""A team of threads for compiled work: they wait for it in a loop, so it begins within a microsecond, without the GIL.

`share` cuts work into as many parts as threads compute. Whoever comes first does a part: where a thread sleeps or has
no core, the caller does its part as well. Which part computes what is fixed, so results do not depend on who did it.
"""

import atexit
import os
import threading
import time
from typing import Any

import numba
import numpy as np
from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .. import threads
from .compiler import kernel

# An array of integers tells all: of the team, then of each thread but the caller's, on cache lines of their own.
OWNED, TURN, SIZE, STOPPED = range(4)
POSTED, TAKEN, DONE, SLEEPS, JOB, INPUTS = range(6)
STRIDE = 16
SHARED = 1 << 14  # exponentials, some microseconds: less is not worth the way to another core
# Seconds at an empty desk before a thread sleeps: more than Python takes from one op to the next. With 0.06 ms it slept
# 20 times in a GPT's step, which took a fifth longer; with 2 ms it was in the way of an LSTM's.
PATIENCE = 5e-4
LOOKS = 1000  # at an empty desk, to see how long one takes: from 3 to 50 ns
PAUSES = binding.get_host_cpu_features().get("sse2", False)
YIELDS = hasattr(os, "sched_yield")

_yield = types.ExternalFunction("sched_yield", types.int32())
WORD, BYTES = ir.IntType(64), ir.IntType(8).as_pointer()
JOB_KIND = ir.FunctionType(ir.VoidType(), [BYTES, WORD, WORD])

# -- what numba has no words for


def _place(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    array = cgutils.create_struct_proxy(signature.args[0])(context, builder, args[0])
    return builder.gep(array.data, [args[1]])


@intrinsic
def _load(typing: Any, a: Any, k: Any) -> Any:
    """a[k] as the threads see it now."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load_atomic(_place(context, builder, signature, args), "seq_cst", 8)

    return types.int64(a, types.intp), generate


@intrinsic
def _store(typing: Any, a: Any, k: Any, n: Any) -> Any:
    """a[k] = n, and all that was written before, for all threads."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.store_atomic(args[2], _place(context, builder, signature, args), "seq_cst", 8)
        return context.get_dummy_value()

    return types.void(a, types.intp, types.int64), generate


@intrinsic
def _exchange(typing: Any, a: Any, k: Any, old: Any, new: Any) -> Any:
    """a[k] = new where it was old; whether it was."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = _place(context, builder, signature, args)
        return builder.extract_value(builder.cmpxchg(place, args[2], args[3], "seq_cst", "seq_cst"), 1)

    return types.boolean(a, types.intp, types.int64, types.int64), generate


@intrinsic
def _pause(typing: Any) -> Any:
    """Leave the core's other half to its owner for a moment."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if PAUSES:
            name = "llvm.x86.sse2.pause"
            pause = builder.module.globals.get(name) or ir.Function(
                builder.module, ir.FunctionType(ir.VoidType(), []), name
            )
            builder.call(pause, [])
        return context.get_dummy_value()

    return types.void(), generate


@intrinsic
def _kept(typing: Any, inputs: Any) -> Any:
    """The address of a copy of a tuple that lies in the caller's frame."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = cgutils.alloca_once(builder, context.get_value_type(inputs))
        builder.store(args[0], place)
        return builder.ptrtoint(place, WORD)

    return types.int64(inputs), generate


def job(function: Any) -> Any:
    """For compiled function(part, parts, *inputs): what gives, of the inputs, the address at which `share` calls it."""

    @intrinsic
    def address(typing: Any, inputs: Any) -> Any:
        arguments = (types.intp, types.intp, *inputs.types)
        function.compile(arguments)

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            compiled = function.overloads[arguments]
            context.active_code_library.add_linking_library(compiled.library)
            name = f"job.{compiled.fndesc.mangled_name}"
            call = builder.module.globals.get(name) or _calling(context, builder.module, name, compiled, inputs)
            return builder.ptrtoint(call, WORD)

        return types.int64(inputs), generate

    return address


def _calling(context: Any, module: Any, name: str, compiled: Any, inputs: Any) -> Any:
    """A function of (address of a tuple of inputs, part, parts) that calls what is compiled."""
    call = ir.Function(module, JOB_KIND, name)
    call.linkage = "internal"
    builder = ir.IRBuilder(call.append_basic_block())
    kept = builder.load(builder.bitcast(call.args[0], context.get_value_type(inputs).as_pointer()))
    values = [*call.args[1:], *cgutils.unpack_tuple(builder, kept, len(inputs.types))]
    described = compiled.fndesc
    callee = context.declare_function(module, described)
    context.call_conv.call_function(builder, callee, described.restype, described.argtypes, values)
    builder.ret_void()
    return call


@intrinsic
def _call(typing: Any, job: Any, inputs: Any, part: Any, parts: Any) -> Any:
    """One part of a job."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        function = builder.inttoptr(args[0], JOB_KIND.as_pointer())
        builder.call(function, [builder.inttoptr(args[1], BYTES), *args[2:]])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.intp, types.intp), generate


# -- the caller's side


@numba.njit(nogil=True)  # no cache of its own: it lies in that of the kernel that calls it
def share(job: int, team: Any, inputs: Any) -> None:
    """Call a job for each part, all at the same time."""
    parts, kept = team[SIZE], _kept(inputs)
    if parts == 1 or not _exchange(team, OWNED, 0, 1):  # others compute: it is done here
        for part in range(parts):
            _call(job, kept, part, parts)
        return
    turn = team[TURN] + 1
    team[TURN] = turn
    for part in range(1, parts):
        desk = part * STRIDE
        team[desk + JOB], team[desk + INPUTS] = job, kept
        _store(team, desk + POSTED, turn)
    _call(job, kept, 0, parts)
    for part in range(1, parts):
        desk = part * STRIDE
        if _exchange(team, desk + TAKEN, turn - 1, turn):
            _call(job, kept, part, parts)
            continue
        waited = 0
        while _load(team, desk + DONE) != turn:
            _pause()
            waited += 1
            if YIELDS and waited % 512 == 0:  # it may wait for this core
                _yield()
    _store(team, OWNED, 0)


# -- the other threads' side


@kernel
def _serve(team: Any, desk: int, patience: int) -> None:
    """Do what lies on a desk until nothing has come for a while."""
    waited = 0
    while waited < patience and not _load(team, STOPPED):
        turn = _load(team, desk + POSTED)
        if turn == _load(team, desk + TAKEN):
            _pause()
            waited += 1
        elif _exchange(team, desk + TAKEN, turn - 1, turn):
            _call(team[desk + JOB], team[desk + INPUTS], desk // STRIDE, team[SIZE])
            _store(team, desk + DONE, turn)
            waited = 0
    _store(team, desk + SLEEPS, 1)


class _Team:
    """`parts` - 1 threads beside the caller's."""

    def __init__(self, parts: int) -> None:
        self.desks = np.zeros(parts * STRIDE, np.int64)
        self.desks[SIZE] = parts
        self.bells = [threading.Semaphore(0) for _ in range(parts)]
        self.threads = [threading.Thread(target=self._work, args=(part,), daemon=True) for part in range(1, parts)]
        if parts > 1:
            _serve(self.desks, STRIDE, 0)  # compiled here, where an error is seen
            self.patience = int(PATIENCE / min(self._seconds() for _ in range(5)) * LOOKS)
        self.desks[SLEEPS::STRIDE] = 0
        for thread in self.threads:
            thread.start()

    def _seconds(self) -> float:
        """How long LOOKS take."""
        start = time.perf_counter()
        _serve(self.desks, STRIDE, LOOKS)
        return time.perf_counter() - start

    def _work(self, part: int) -> None:
        while not self.desks[STOPPED]:
            _serve(self.desks, part * STRIDE, self.patience)
            self.bells[part].acquire()

    def wake(self) -> None:
        for part in range(1, len(self.bells)):
            if self.desks[part * STRIDE + SLEEPS]:
                self.desks[part * STRIDE + SLEEPS] = 0
                self.bells[part].release()

    def stop(self) -> None:
        self.desks[STOPPED] = 1
        for bell in self.bells:
            bell.release()
        for thread in self.threads:
            thread.join()


_team: _Team | None = None
_alone = np.zeros(STRIDE, np.int64)
_alone[SIZE] = 1


def team(exponentials: int) -> Any:
    """The team of `num_threads()`, awake, or the caller alone: the first input of a kernel that shares its work.

    Args:
        exponentials: how much work it is, in numbers whose exponential could be computed meanwhile.
    """
    global _team
    if exponentials < SHARED:
        return _alone
    parts = threads.take_over()
    if _team is None or len(_team.bells) != parts:
        if _team is not None:
            _team.stop()
        _team = _Team(parts)
    if parts > 1:
        _team.wake()
    return _team.desks


@atexit.register
def _stop() -> None:
    if _team is not None:
        _team.stop()


def _forget() -> None:
    global _team
    _team = None


if hasattr(os, "register_at_fork"):  # a child has none of its parent's threads
    os.register_at_fork(after_in_child=_forget)
