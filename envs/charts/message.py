"""A flexibility chart as bytes and as JSON: its vertices, with a version and nothing else."""

from __future__ import annotations

import json
import struct
import zlib

import numpy as np

from flexgym.envs.errors import ChartError
from flexgym.envs.household.params import Floats

VERSION = 1
FORMAT = "flexgym.flexibility-chart"
_MAGIC = b"FXCH"
_HEAD = struct.Struct("<4sHI")
_TAIL = struct.Struct("<I")


def to_bytes(vertices: Floats) -> bytes:
    """Mark, version, number of vertices, little-endian doubles row by row, CRC-32 of it all."""
    body = _HEAD.pack(_MAGIC, VERSION, len(vertices)) + vertices.astype("<f8").tobytes()
    return body + _TAIL.pack(zlib.crc32(body))


def from_bytes(data: bytes) -> Floats:
    """Vertices of a message from `to_bytes`, shape (k, 3)."""
    data = bytes(data)
    if len(data) < _HEAD.size + _TAIL.size or data[:4] != _MAGIC:
        raise ChartError("got bytes that are no flexibility chart; expected those of to_bytes.")
    _, version, count = _HEAD.unpack_from(data)
    _check_version(version)
    expected = _HEAD.size + 24 * count + _TAIL.size
    if len(data) != expected:
        raise ChartError(f"got {len(data)} bytes of a chart; expected {expected}. Send it again.")
    body = data[: -_TAIL.size]
    if _TAIL.unpack(data[-_TAIL.size :])[0] != zlib.crc32(body):
        raise ChartError("got a damaged chart: its checksum does not hold. Send it again.")
    return np.frombuffer(body, "<f8", offset=_HEAD.size).reshape(-1, 3).astype(np.float64)


def to_json(vertices: Floats) -> str:
    """Object with format, version and vertices."""
    return json.dumps({"format": FORMAT, "version": VERSION, "vertices": vertices.tolist()})


def from_json(text: str) -> Floats:
    """Vertices of a text from `to_json`, shape (k, 3)."""
    try:
        found = json.loads(text)
    except (TypeError, ValueError) as error:
        raise ChartError(f"got text that is no JSON ({error}); expected that of to_json.") from None
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise ChartError(f"got JSON of another format; expected an object with format {FORMAT!r}.")
    _check_version(found.get("version"))
    try:
        return np.array(found["vertices"], dtype=np.float64)
    except (KeyError, TypeError, ValueError):
        raise ChartError("got JSON without vertices; expected a list of [kW, kvar, EUR].") from None


def _check_version(version: object) -> None:
    if type(version) is not int or version != VERSION:
        raise ChartError(
            f"got a chart of version {version}; expected version {VERSION}. "
            "Read it with the flexgym that wrote it."
        )
