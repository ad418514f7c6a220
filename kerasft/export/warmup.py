"""TFRecord files of PredictionLog messages: warm-up requests, and predictions to compare with."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError

from kerasft.errors import ExportError
from kerasft.serving import protos
from kerasft.serving.tensors import to_proto

MAX_WARMUP_RECORDS = 1000  # TensorFlow Serving refuses to load a model with more.


def _crc_table() -> tuple[int, ...]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return tuple(table)


_TABLE = _crc_table()


def crc32c(data: bytes) -> int:
    """Returns the CRC-32C (Castagnoli) of some bytes.

    Example:
        >>> hex(crc32c(b"123456789"))
        '0xe3069283'
    """
    table, crc = _TABLE, 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def _masked(data: bytes) -> bytes:
    crc = crc32c(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def write_records(path: Path, records: Iterable[bytes]) -> None:
    """Writes a TFRecord file, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        for record in records:
            length = struct.pack("<Q", len(record))
            file.write(length + _masked(length) + record + _masked(record))


def read_records(path: Path) -> Iterator[bytes]:
    """Yields the records of a TFRecord file.

    Raises:
        ExportError: If the file is cut short or a checksum does not match.
    """
    with path.open("rb") as file:
        index = 0
        while header := file.read(12):
            size = struct.unpack("<Q", header[:8])[0] if header[8:] == _masked(header[:8]) else -1
            record = file.read(size) if size >= 0 else b""
            if len(record) != size or file.read(4) != _masked(record):
                raise ExportError(f"record {index} of {path} is damaged; export the model again")
            yield record
            index += 1


def predict_log(
    signature: str,
    inputs: Mapping[str, Any],
    outputs: Mapping[str, Any] | None = None,
    *,
    model: str = "default",
) -> Any:
    """Makes the PredictionLog of one Predict request and, when known, of its answer."""
    log = protos.PredictionLog()
    request = log.predict_log.request
    request.model_spec.name = model
    request.model_spec.signature_name = signature
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(to_proto(value))
    for name, value in (outputs or {}).items():
        log.predict_log.response.outputs[name].CopyFrom(to_proto(value))
    return log


def write_logs(path: Path, logs: Iterable[Any]) -> None:
    """Writes PredictionLogs."""
    write_records(path, (log.SerializeToString() for log in logs))


def read_logs(path: Path) -> Iterator[Any]:
    """Yields PredictionLogs.

    Raises:
        ExportError: If the file is damaged or holds something else.
    """
    for index, record in enumerate(read_records(path)):
        try:
            yield protos.PredictionLog.FromString(record)
        except DecodeError as error:
            raise ExportError(f"record {index} of {path} is not a PredictionLog") from error
