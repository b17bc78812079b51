"""Installed distributions: packages in a folder that Python imports from, with what an installer writes beside them."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import wheelweights as ww
from making.small_files import listing_of

if TYPE_CHECKING:
    from collections.abc import Mapping


def distribution_files(name: str, version: str, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the files of a distribution with those of its dist-info, RECORD last."""
    info = f"{name.replace('-', '_')}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode()
    whole = {**files, f"{info}/METADATA": metadata}
    own = f"{info}/RECORD"
    rows = listing_of(whole).splitlines()[:-1]  # the last one is that of another RECORD
    return {**whole, own: "\n".join([*rows, f"{own},,", ""]).encode()}


def install(site: Path, name: str, version: str, files: Mapping[str, bytes]) -> None:
    """Write a distribution into a folder."""
    for place, content in distribution_files(name, version, files).items():
        path = site / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def install_zipped(archive: Path, name: str, version: str, files: Mapping[str, bytes], method: int) -> None:
    """Write a distribution into a zip archive that Python can import from."""
    with zipfile.ZipFile(archive, "w", method) as opened:
        for place, content in distribution_files(name, version, files).items():
            opened.writestr(place, content)


def record_bytes(tensors: Mapping[str, Any], metadata: Mapping[str, Any] | None = None) -> bytes:
    """Return the bytes of a record."""
    file = Path("record_bytes.mpk")
    ww.write_record(file, tensors, metadata=metadata or {})
    content = file.read_bytes()
    file.unlink()
    return content


def in_parts(version: str = "3") -> tuple[bytes, dict[str, bytes]]:
    """Return an index of six tensors, and its two parts by the names of their distributions."""
    tensors = {f"layer{i}.w": np.full(4, i, np.float32) for i in range(6)}
    order = [0, 1, 0, 0, 1, 1]
    parts: dict[str, bytes] = {}
    said: list[dict[str, Any]] = []
    for number in range(2):
        name = f"big-weights-{number + 1}"
        held = {key: tensors[key] for key, part in zip(tensors, order, strict=True) if part == number}
        parts[name] = record_bytes(held, {"part": {"distribution": name, "version": version}})
        Path("part.mpk").write_bytes(parts[name])
        digest = ww.open_record("part.mpk").tensors_digest
        Path("part.mpk").unlink()
        package = name.replace("-", "_")
        where = {"distribution": name, "version": version, "package": package, "name": "big/model.mpk"}
        said.append({**where, "tensors": digest, "count": len(held)})
    return record_bytes({}, {"generator": "test", "parts": said, "order": order}), parts
