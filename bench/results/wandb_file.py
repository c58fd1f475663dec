"""Completeness of an offline file of Weights & Biases.

The wandb client ignores a full disk, so a file can end anywhere. The client has no public function
that reads its files. They are logs in the format of LevelDB after a header of seven bytes: blocks
of 32 KiB, in which a record begins with a checksum, its length and its kind. A record that crosses
the end of a block has several parts. No record begins in the last six bytes of a block.
https://github.com/google/leveldb/blob/main/doc/log_format.md
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

HEADER = 7  # bytes before the first record
BLOCK = 32768
RECORD = struct.Struct("<IHB")  # checksum, length, kind
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4


def is_whole(file: Path) -> bool:
    """Return whether a file holds all records of a run, up to the one that ends the run."""
    from google.protobuf.message import DecodeError
    from wandb.proto.wandb_internal_pb2 import Record

    record = Record()
    try:
        for data in _read_records(file.read_bytes()):
            record.ParseFromString(data)
            if record.WhichOneof("record_type") == "exit":
                return True
    except (OSError, DecodeError):
        pass
    return False


def _read_records(content: bytes) -> Iterator[bytes]:
    """Yield the records of a log, without any that is cut off at the end."""
    place, parts = HEADER, b""
    while place + RECORD.size <= len(content):
        room = BLOCK - place % BLOCK
        if room < RECORD.size:
            place += room
            continue
        _, length, kind = RECORD.unpack_from(content, place)
        place += RECORD.size
        part = content[place : place + length]
        if len(part) < length:
            return
        place += length
        parts = part if kind in (FULL, FIRST) else parts + part
        if kind in (FULL, LAST):
            yield parts
