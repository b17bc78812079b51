"""The msgpack library as this package uses it, with types: the library has none of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

__all__ = ["Packer", "UnpackException", "Unpacker", "unpackb"]

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, BinaryIO, TypeAlias

    Value: TypeAlias = "bool | int | float | str | bytes | list[Value] | dict[Any, Value] | None"

    class Packer:
        def pack(self, value: object) -> bytes: ...
        def pack_map_header(self, size: int) -> bytes: ...

    class UnpackException(Exception): ...  # noqa: N818 (the library's name)

    class Unpacker:
        def __init__(
            self,
            file_like: BinaryIO | None = None,
            *,
            read_size: int = ...,
            list_hook: Callable[[list[Value]], object] = ...,
            object_pairs_hook: Callable[[list[tuple[str, Value]]], object] = ...,
            ext_hook: Callable[[int, bytes], Value] = ...,
            max_array_len: int,
            max_map_len: int,
            max_str_len: int = ...,
            max_bin_len: int = ...,
            max_ext_len: int = ...,
        ) -> None: ...
        def feed(self, data: memoryview) -> None: ...
        def tell(self) -> int: ...
        def unpack(self) -> Any: ...
        def __iter__(self) -> Iterator[Value]: ...

    def unpackb(
        packed: bytes, *, object_pairs_hook: Callable[[list[tuple[str, Value]]], dict[str, Value]]
    ) -> dict[str, Any]: ...

else:
    from msgpack import Packer, Unpacker, UnpackException, unpackb
