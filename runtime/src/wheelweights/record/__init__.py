"""The record: one MessagePack document whose tensor bytes are aligned in the file.

`layout` is the specification, `writing` makes records, `reading` opens and checks them, and `mapping` is what an open
one is: a mapping of keys to arrays. Knows nothing of checkpoints, models or packages.
"""

from wheelweights.record.mapping import Record, TensorInfo
from wheelweights.record.reading import aligned_buffer, open_record, read_record, recognises
from wheelweights.record.writing import Tensor, write_record

__all__ = [
    "Record",
    "Tensor",
    "TensorInfo",
    "aligned_buffer",
    "open_record",
    "read_record",
    "recognises",
    "write_record",
]
