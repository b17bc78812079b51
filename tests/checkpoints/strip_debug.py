"""Take the `*.debug_pkl` members out of TorchScript archives: they hold the paths of the machine that wrote them.

    python tests/checkpoints/strip_debug.py FILE ...

All other members keep their bytes, headers and data descriptors as torch wrote them; they only move together.
"""

from __future__ import annotations

import struct
import sys
import zipfile
from pathlib import Path


def stripped(file: Path) -> bytes:
    """Return the archive without its debug members."""
    data = file.read_bytes()
    with zipfile.ZipFile(file) as archive:
        members, directory = archive.infolist(), archive.start_dir
    ends = [member.header_offset for member in members[1:]] + [directory]
    content, entries, at = b"", b"", directory
    kept = 0
    for member, end in zip(members, ends, strict=True):
        name_size, extra_size, comment_size = struct.unpack_from("<3H", data, at + 28)
        entry = data[at : at + 46 + name_size + extra_size + comment_size]
        at += len(entry)
        if not member.filename.endswith(".debug_pkl"):
            entries += entry[:42] + struct.pack("<L", len(content)) + entry[46:]
            content += data[member.header_offset : end]
            kept += 1
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, kept, kept, len(entries), len(content), 0)
    return content + entries + end


if __name__ == "__main__":
    for name in sys.argv[1:]:
        Path(name).write_bytes(stripped(Path(name)))
