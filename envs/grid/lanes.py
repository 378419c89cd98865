"""Arithmetic on all lanes of a block at once, in machine vectors, inside compiled functions.

A block holds ``LANES`` independent cases side by side in its last axis, so that one
instruction works on several cases. Left to itself, the compiler vectorises such loops only
where it can prove that rows do not overlap, and its run-time proofs fail or cost as much as
the arithmetic: the sweep runs at half the speed. A function decorated with `on_lanes` is
written on `Vector` and `Rows` as if for one case and becomes vector instructions directly.

Additions, multiplications and `Vector.fma` (one rounding, IEEE) give the same bits at every
width, so that a case has one result whether it is solved alone or in a block.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 16
"""Cases side by side in a block."""

_AT_ONCE = 8
"""Lanes handled before the next ones, so that the values in use fit into the registers."""

_INT64 = ir.IntType(64)


class Vector:
    """One number per lane while a function is translated; arithmetic emits instructions."""

    def __init__(self, builder: Any, value: Any) -> None:
        self.builder = builder
        self.value = value

    def _value(self, other: Vector | float) -> Any:
        if isinstance(other, Vector):
            return other.value
        kind = self.value.type
        return ir.Constant(kind, [float(other)] * kind.count)

    def _new(self, instruction: str, *operands: Any) -> Vector:
        return Vector(self.builder, getattr(self.builder, instruction)(*operands))

    def _call(self, name: str, *operands: Any) -> Vector:
        kind = self.value.type
        function = cgutils.get_or_insert_function(
            self.builder.module,
            ir.FunctionType(kind, [kind] * len(operands)),
            f"llvm.{name}.v{kind.count}f64",
        )
        return Vector(self.builder, self.builder.call(function, operands))

    def __add__(self, other: Vector | float) -> Vector:
        return self._new("fadd", self.value, self._value(other))

    def __sub__(self, other: Vector | float) -> Vector:
        return self._new("fsub", self.value, self._value(other))

    def __mul__(self, other: Vector | float) -> Vector:
        return self._new("fmul", self.value, self._value(other))

    def __truediv__(self, other: Vector | float) -> Vector:
        return self._new("fdiv", self.value, self._value(other))

    def __rtruediv__(self, other: float) -> Vector:
        return self._new("fdiv", self._value(other), self.value)

    def __neg__(self) -> Vector:
        return self._new("fneg", self.value)

    def fma(self, factor: Vector, addend: Vector | float) -> Vector:
        """``self * factor + addend``, rounded once."""
        return self._call("fma", self.value, factor.value, self._value(addend))

    def sqrt(self) -> Vector:
        """Square root, correctly rounded."""
        return self._call("sqrt", self.value)

    def maximum(self, other: Vector) -> Vector:
        """The larger one; ``other`` where self is NaN."""
        above = self.builder.fcmp_ordered(">", self.value, other.value)
        return self._new("select", above, self.value, other.value)

    def where_above(self, mark: Vector, limit: float, otherwise: Vector) -> Vector:
        """Self in lanes where ``mark > limit``, else ``otherwise`` (also where mark is NaN)."""
        above = self.builder.fcmp_ordered(">", mark.value, self._value(limit))
        return self._new("select", above, self.value, otherwise.value)


class Rows:
    """A block, shape (nodes, rows, LANES) or (nodes, rows) for one case, of float64.

    Index it by (node, row): ``block[k, P_KW]`` is a `Vector`. A flat array, shape (n,), is
    indexed by position and offset: ``w[at, 64]`` are the lanes from ``at + 64`` on.
    """

    def __init__(self, context: Any, builder: Any, kind: Any, value: Any, width: int) -> None:
        array = context.make_array(kind)(context, builder, value)
        self.builder = builder
        self.data = array.data
        self.rows = builder.extract_value(array.shape, 1) if kind.ndim > 1 else None
        self.width = width
        self.lane = 0

    def _pointer(self, index: tuple[Any, int]) -> Any:
        builder, (node, row) = self.builder, index
        node = _INT64(node) if isinstance(node, int) else node
        if self.rows is None:
            place = builder.add(node, _INT64(row + self.lane))
        else:
            place = builder.add(builder.mul(node, self.rows), _INT64(row))
            place = builder.add(builder.mul(place, _INT64(self.width)), _INT64(self.lane))
        vector = ir.VectorType(ir.DoubleType(), min(self.width, _AT_ONCE))
        return builder.bitcast(builder.gep(self.data, [place]), vector.as_pointer())

    def __getitem__(self, index: tuple[Any, int]) -> Vector:
        return Vector(self.builder, self.builder.load(self._pointer(index), align=8))

    def __setitem__(self, index: tuple[Any, int], vector: Vector) -> None:
        self.builder.store(vector.value, self._pointer(index), align=8)


def width(kind: Any) -> int:
    """Lanes of a block by its numba type."""
    return LANES if kind.ndim == 3 else 1


def on_lanes(function: Callable[..., None]) -> Callable[..., None]:
    """Make a function on `Rows`, whole numbers and numbers callable in compiled functions.

    Arguments that are arrays arrive as `Rows` (C-contiguous float64, the first of them, a block,
    sets the width), numbers as `Vector` with the same value in every lane, and whole numbers as
    they are, fit to index `Rows`. Nothing checks bounds.
    """

    def typing(_: Any, *kinds: Any) -> Any:
        lanes = next(width(kind) for kind in kinds if isinstance(kind, types.Array))
        at_once = min(lanes, _AT_ONCE)
        floats = ir.VectorType(ir.DoubleType(), at_once)

        def repeated(builder: Any, number: Any) -> Vector:
            empty = ir.Constant(floats, ir.Undefined)
            first = builder.insert_element(empty, number, ir.IntType(32)(0))
            every = ir.Constant(ir.VectorType(ir.IntType(32), at_once), [0] * at_once)
            return Vector(builder, builder.shuffle_vector(first, empty, every))

        def translate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            given: list[Any] = []
            for kind, value in zip(signature.args, values, strict=True):
                if isinstance(kind, types.Array):
                    given.append(Rows(context, builder, kind, value, lanes))
                elif isinstance(kind, types.Float):
                    number = context.cast(builder, value, kind, types.float64)
                    given.append(repeated(builder, number))
                else:
                    given.append(context.cast(builder, value, kind, types.int64))
            for lane in range(0, lanes, at_once):
                for block in given:
                    if isinstance(block, Rows):
                        block.lane = lane
                function(*given)
            return context.get_dummy_value()

        return types.none(*kinds), translate

    # numba reads the names of the arguments from the signature, after the typing context.
    named = inspect.signature(function).parameters.values()
    first = inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    typing.__signature__ = inspect.Signature([first, *named])  # type: ignore[attr-defined]
    typing.__name__ = function.__name__
    typing.__doc__ = function.__doc__
    return intrinsic(typing)  # type: ignore[return-value]
