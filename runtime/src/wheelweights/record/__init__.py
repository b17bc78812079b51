"""The record: one MessagePack document whose tensor bytes are aligned in the file.

`layout` is the specification, `writing` makes records, `reading` opens them by their `header`, `buffers` has the bytes
behind it, `memory` is what they are mapped or read into, and `mapping` is what an open record is: a mapping of keys to
arrays. Knows nothing of checkpoints, models or packages.
"""

from wheelweights.record.layout import MARK_BYTES, buffer_size, header_size
from wheelweights.record.mapping import Record, TensorInfo, read_only, tensors_digest
from wheelweights.record.memory import aligned_buffer
from wheelweights.record.reading import open_record, read_record, recognises
from wheelweights.record.writing import Tensor, write_record

__all__ = [
    "MARK_BYTES",
    "Record",
    "Tensor",
    "TensorInfo",
    "aligned_buffer",
    "buffer_size",
    "header_size",
    "open_record",
    "read_only",
    "read_record",
    "recognises",
    "tensors_digest",
    "write_record",
]
