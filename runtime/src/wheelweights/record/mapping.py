"""An open record: a mapping of keys to arrays, and what the header says of each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar, overload
from weakref import WeakValueDictionary

from wheelweights.dtypes import DTYPES, numpy_dtype, widen
from wheelweights.errors import DtypeError, RecordError, counted, human_size
from wheelweights.record.faults import damaged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TypeAlias

    import numpy as np
    from numpy.typing import NDArray

    Values: TypeAlias = tuple[int, str, tuple[int, ...]]
    Raw: TypeAlias = Callable[[str], "NDArray[np.uint8]"]
    Progress: TypeAlias = Callable[[int], object]
    # What `__reduce__` returns; the first argument is the record's path or name
    Reopen: TypeAlias = tuple[Callable[..., "Record"], tuple[Any, ...]]

__all__ = ["Record", "Stored", "TensorInfo", "check_bools", "read_only", "tensors_digest"]

C = TypeVar("C")


class TensorInfo(NamedTuple):
    """What the header says of one tensor.

    `nbytes` is the size of its values, `offset` the place of the first of them in the file (None in a record that Burn
    wrote), `source` the key that it had in the checkpoint.
    """

    dtype: str
    shape: tuple[int, ...]
    nbytes: int
    offset: int | None
    source: str
    crc32: int | None = None


class Stored(Protocol):
    """The bytes of an open record; what is wrong with them is a RecordError that names file and tensor."""

    def raw(self, key: str) -> NDArray[np.uint8]:
        """Return a tensor's bytes: flat, little-endian, in C order, not copied."""
        ...

    def writable(self) -> Raw:
        """Return a function like `raw` whose bytes are in memory of its own and can be written to."""
        ...

    def verify(self, progress: Progress | None) -> None:
        """Check every byte."""
        ...


class Record(Mapping[str, "NDArray[Any]"]):
    """The tensors of an open record by key, in the checkpoint's order: read-only arrays, views of the mapped file.

    bfloat16 and float8 come with the dtypes of `ml_dtypes`, or, in a record opened with `widen=True`, as float32
    copies; tied tensors share theirs. Many threads can read one record. Arrays stay valid after `close`, because each
    of them keeps the file mapped. A pickled record is the way to open it again, a few hundred bytes, and no array.
    """

    def __init__(
        self,
        infos: Mapping[str, TensorInfo],
        stored: Stored,
        *,
        metadata: dict[str, Any],
        path: str,
        format: str = "wheelweights",  # noqa: A002 (the word of the format itself)
        widen: bool = False,
        reopen: Reopen | None = None,
    ) -> None:
        self.metadata = metadata
        self.path = path
        self.format = format
        self._infos = infos
        self._stored: Stored | None = stored
        self._widen = widen
        self._reopen = reopen
        # By what tied tensors have in common: bools that were checked, and copies that are in use
        self._sound: set[Values] = set()
        self._copies: WeakValueDictionary[Values, NDArray[Any]] = WeakValueDictionary()

    def __getitem__(self, key: str) -> NDArray[Any]:
        info = self._infos[key]
        raw = self.raw(key)
        if info.dtype == "bool":
            self._check_bools(key, info, raw)
        if not self._is_widened(info):
            array = self._viewed(key, info, raw)
            if array.flags.aligned:
                return array
        values = _values(info, raw)
        found = self._copies.get(values)
        if found is None:
            found = self._copies[values] = self._copied(key, info, raw)
        return found

    def _check_bools(self, key: str, info: TensorInfo, raw: NDArray[np.uint8]) -> None:
        values = _values(info, raw)
        if values not in self._sound:
            check_bools(raw, key, self.path)
            self._sound.add(values)

    def _is_widened(self, info: TensorInfo) -> bool:
        return self._widen and DTYPES[info.dtype].numpy is None

    def _viewed(self, key: str, info: TensorInfo, raw: NDArray[np.uint8]) -> NDArray[Any]:
        try:
            dtype = numpy_dtype(info.dtype)
        except DtypeError as error:
            error.path, error.key = self.path, key
            raise
        return raw.view(dtype).reshape(info.shape)

    def _copied(self, key: str, info: TensorInfo, raw: NDArray[np.uint8]) -> NDArray[Any]:
        if self._is_widened(info):
            return read_only(widen(raw, info.dtype).reshape(info.shape))
        return read_only(self._viewed(key, info, raw).copy())

    def __iter__(self) -> Iterator[str]:
        return iter(self._infos)

    def __len__(self) -> int:
        return len(self._infos)

    def __contains__(self, key: object) -> bool:
        return key in self._infos

    def __eq__(self, other: object) -> bool:
        return self is other  # comparing values would read everything

    def __hash__(self) -> int:
        return object.__hash__(self)

    def __repr__(self) -> str:
        # Tied tensors have one place; parts of a record have places of their own, told apart by the checksums
        stored = {
            (info.offset, info.nbytes, key if info.crc32 is None else info.crc32): info.nbytes
            for key, info in self._infos.items()
        }
        tensors = f"{counted(len(self), 'tensor')}, {human_size(sum(stored.values()))}"
        return f"<Record {self.path!r}: {tensors}{', closed' if self._stored is None else ''}>"

    def _ipython_key_completions_(self) -> list[str]:
        """Return the keys, which IPython and Jupyter complete after `record["`."""
        return list(self._infos)

    def info(self, key: str) -> TensorInfo:
        """Return what the header says of a tensor, without touching its bytes.

        Raises KeyError for a key that is not there.
        """
        return self._infos[key]

    def raw(self, key: str) -> NDArray[np.uint8]:
        """Return a tensor's bytes as they are stored (little-endian, C order): flat, read-only, not copied.

        Raises RecordError if they are not where the header says.
        """
        return self._open().raw(key)

    def writable(self) -> Raw:
        """Return a function like `raw` whose bytes can be written to, for frameworks without read-only arrays.

        All calls of that function share one memory: a private map of the file, where the first write to a page (4 KiB
        on most machines) copies it; or a copy, if the record is in memory or its file has been replaced. What is
        written changes neither the file nor the arrays of this record.
        """
        return self._open().writable()

    @overload
    def config(self) -> Any: ...
    @overload
    def config(self, config: type[C]) -> C: ...
    def config(self, config: type[C] | None = None) -> Any:
        """Return the configuration that the build baked in: plain values, or an instance of a dataclass.

        Raises RecordError if there is none, and, with every fault and its path, if it does not fit the dataclass.
        """
        if "config" not in self.metadata:
            raise RecordError(
                "no configuration in this record",
                path=self.path,
                remedy="Set config-key for it where it is built (tool.hatch.build.hooks.wheelweights).",
            )
        if config is None:
            return self.metadata["config"]
        from wheelweights.config import build  # noqa: PLC0415 (only needed here)

        return build(config, self.metadata["config"], "config", path=self.path)

    @property
    def tensors_digest(self) -> str:
        """The digest of its tensors, see `tensors_digest`."""
        return tensors_digest(self._infos)

    def state_dict(self, source_keys: bool = False) -> dict[str, NDArray[Any]]:
        """Return a plain dict of all arrays (views); with `source_keys`, under the names they had in the checkpoint."""
        return {self._infos[key].source if source_keys else key: array for key, array in self.items()}

    def beside(self, renamed: Callable[[str], str]) -> Record:
        """Open the record beside this one whose name `renamed` makes of this one's.

        It is looked for where this one was found, on disk, in the package or in the archive, and opened in the same
        way. Raises MissingRecordError if it is not there.
        """
        if self._reopen is None:
            raise RecordError("a record that is not a file of its own has none beside it", path=self.path)
        function, (name, *way) = self._reopen
        return function(renamed(name), *way)

    def verify(self, *, progress: Progress | None = None) -> None:
        """Read every byte and check it: the header, the marks and zeros between the tensors, CRC-32 and bools.

        `progress` is called with the bytes of tensors that were checked since the last call, 16 MiB at most. Raises
        RecordError for the first fault. A record that Burn wrote has no checksums: opening checked it whole.
        """
        self._open().verify(progress)

    def close(self) -> None:
        """Let go of the file. Arrays taken from the record keep it mapped and stay valid."""
        self._stored = None

    def _open(self) -> Stored:
        if self._stored is None:
            remedy = "Open it again, or take the arrays before closing."
            raise RecordError("the record is closed", path=self.path, remedy=remedy)
        return self._stored

    def __enter__(self) -> Record:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> Reopen:
        if self._reopen is None:
            raise RecordError("a record that is not a file of its own cannot be pickled or copied", path=self.path)
        return self._reopen

    def __copy__(self) -> Record:
        return self  # immutable, and so are its arrays

    def __deepcopy__(self, memo: dict[int, Any]) -> Record:
        return self


def tensors_digest(infos: Mapping[str, TensorInfo]) -> str:
    """Return the SHA-256 of what a header says of tensors: keys, dtypes, shapes and CRC-32.

    Two records have the same digest if they hold the same tensors, whatever else they say and whenever they were made.
    CRC-32 tells mistakes apart, not forgeries. No tensor is read.
    """
    import hashlib  # noqa: PLC0415 (opening a record needs neither)
    import json  # noqa: PLC0415

    facts = [(key, info.dtype, info.shape, info.crc32) for key, info in sorted(infos.items())]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _values(info: TensorInfo, raw: NDArray[np.uint8]) -> Values:
    """Return what the values of a tensor depend on; `raw` are its bytes, which the record keeps where they are."""
    return raw.__array_interface__["data"][0], info.dtype, info.shape


def read_only(array: NDArray[Any]) -> NDArray[Any]:
    """Return the array itself, protected against writing."""
    array.flags.writeable = False
    return array


def check_bools(raw: NDArray[np.uint8], key: str, path: str) -> None:
    """Raise RecordError for the bytes of a bool tensor if one of them is neither 0 nor 1."""
    if raw.size and raw.max() > 1:
        raise damaged(f"expected bytes 0 and 1 in a bool tensor, found {raw.max()}", key, path=path)
