"""A model in the ONNX format, written byte by byte: a 1 × 1 convolution of three channels and a sigmoid.

Protocol buffers, so a file is fields of a number, a kind (0: a varint, 2: bytes) and a value; the numbers are
those of onnx.proto.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

WEIGHTS, BIAS = (2.0, -1.0, 0.5), -0.25
Side = int | str
FLOAT = 1


def model(
    *inputs: tuple[Side, ...], sigmoid: bool = True, outputs: Sequence[str] = ("maps",), kind: int = FLOAT
) -> bytes:
    """Write a model that reads images of a shape, (N, 3, H, W), a side being a number or a name."""
    inputs = inputs or (("n", 3, "h", "w"),)
    nodes = [_node("Conv", ["images", "weights", "bias"], ["logits"])]
    nodes += [_node("Sigmoid" if sigmoid else "Identity", ["logits"], [name]) for name in outputs]
    weights = _tensor("weights", np.array(WEIGHTS, np.float32).reshape(1, 3, 1, 1))
    tensors = [weights, _tensor("bias", np.array([BIAS], np.float32))]
    graph = b"".join(_bytes(1, node) for node in nodes) + _bytes(2, b"graph")
    graph += b"".join(_bytes(5, tensor) for tensor in tensors)
    for index, shape in enumerate(inputs):
        graph += _bytes(11, _value("images" if index == 0 else f"other{index}", shape, kind))
    graph += b"".join(_bytes(12, _value(name, ("n", 1, "h", "w"), kind)) for name in outputs)
    return _number(1, 8) + _bytes(7, graph) + _bytes(8, _number(2, 13))


def _varint(value: int) -> bytes:
    head, rest = value & 0x7F, value >> 7
    return bytes([head | 0x80]) + _varint(rest) if rest else bytes([head])


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _node(kind: str, inputs: Sequence[str], outputs: Sequence[str]) -> bytes:
    named = b"".join(_bytes(1, name.encode()) for name in inputs)
    return named + b"".join(_bytes(2, name.encode()) for name in outputs) + _bytes(4, kind.encode())


def _tensor(name: str, values: np.ndarray) -> bytes:
    dims = b"".join(_number(1, side) for side in values.shape)
    return dims + _number(2, FLOAT) + _bytes(8, name.encode()) + _bytes(9, values.tobytes())


def _value(name: str, shape: Sequence[Side], kind: int) -> bytes:
    sides = [_number(1, side) if isinstance(side, int) else _bytes(2, side.encode()) for side in shape]
    tensor = _number(1, kind) + _bytes(2, b"".join(_bytes(1, side) for side in sides))
    return _bytes(1, name.encode()) + _bytes(2, _bytes(1, tensor))
