"""Mutants of pickles: by opcode, by whole expression, and by byte.

Most mutants by opcode are still well-formed pickles, because whole values are moved (see `opcodes`).
"""

from __future__ import annotations

import pickletools
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from making.opcodes import BY_CODE, Expression, Op, expressions

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

NUMBERS = (
    -(1 << 63), -(1 << 31), -2, -1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 16, 64, 127, 128, 255, 256, 0x7FFF, 0xFFFF,
    (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 61, 1 << 62, (1 << 63) - 1, (1 << 64) - 1,
)  # fmt: skip

# ------------------------------------------------------------------------------------- arguments


def _sized(form: str, body: bytes) -> bytes:
    return struct.pack(form, len(body) % 256 ** struct.calcsize(form)) + body


_TEXT_SIZES = {
    "unicodestring1": "<B", "unicodestring4": "<I", "unicodestring8": "<Q", "string1": "<B", "string4": "<I",
    "bytes1": "<B", "bytes4": "<I", "bytes8": "<Q", "bytearray8": "<Q", "long1": "<B", "long4": "<I",
}  # fmt: skip
_NUMBER_SIZES = {"uint1": 1, "uint2": 2, "int4": 4, "uint4": 4, "uint8": 8}

WORDS = (
    b"", b"0", b"1", b"2", b"00", b"-1", b"storage", b"module", b"cpu", b"cuda:0", b"meta", b"conj", b"neg", b"little",
    b"torch.sparse_coo", b"torch.strided", b"latin1", b"utf-8", b"ascii", b"f4", b"<f8", b"i2", b"<", b">", b"=", b"|",
    b"b", b"O", b"F", b"C", b"\xc3\xa9", b"\xff", b"\xed\xa0\x80", b"\\u0041", b"\\x41", b"\\", b"a\0b", b"_metadata",
    b"items", b"training", b"weight",
)  # fmt: skip
LINES = (
    b"0", b"1", b"00", b"01", b"-1", b"1L", b" 1", b"1_0", b"0x10", b"1e5", b"nan", b"inf", b"-0.0", b"1" * 310,
    b"0." + b"1" * 310, b"1e" + b"0" * 300 + b"1", b"", b"'a'", b'"a"', b"'\\u0041'", b"'\\x41'", b"'a", b"\\u0041",
    b"\xff", b"'\xff'", b"4294967295", b"4294967296",
)  # fmt: skip


def _near(value: int, chance: random.Random) -> int:
    return chance.choice([*NUMBERS, value - 1, value + 1, value * 2, -value, value ^ (1 << chance.randrange(8))])


def changed(op: Op, chance: random.Random, names: Sequence[bytes]) -> Op:
    """Return the opcode with another argument, well-formed more often than not; one without any stays as it is."""
    encoding = op.encoding
    if encoding is None:
        return op
    if encoding in _NUMBER_SIZES:
        size = _NUMBER_SIZES[encoding]
        value = _near(int.from_bytes(op.argument, "little"), chance)
        return Op(op.code, (value % 256**size).to_bytes(size, "little"))
    if encoding in _TEXT_SIZES:
        return Op(op.code, _other_text(op, _TEXT_SIZES[encoding], chance))
    if encoding == "stringnl_noescape_pair":
        return Op(op.code, chance.choice(names))
    if encoding == "float8":
        values = (0.0, -0.0, 1.5, 1e300, float("nan"), float("inf"))
        return Op(op.code, struct.pack(">d", chance.choice(values)))
    return Op(op.code, chance.choice(LINES) + b"\n")


def _other_text(op: Op, form: str, chance: random.Random) -> bytes:
    body = op.argument[struct.calcsize(form) :]
    if op.name in ("LONG1", "LONG4"):
        size = chance.choice([0, 1, 2, 4, 8, 9, 16])
        return _sized(form, (chance.choice(NUMBERS) % (1 << 80)).to_bytes(10, "little")[:size])
    if chance.random() < 0.1:  # another length than there is
        return struct.pack(form, (len(body) + chance.choice([-1, 1, 100])) % 256 ** struct.calcsize(form)) + body
    if chance.random() < 0.3 and body:
        at = chance.randrange(len(body))
        return _sized(form, body[:at] + chance.randbytes(1) + body[at + chance.randrange(2) :])
    return _sized(form, chance.choice(WORDS))


def _made(code: bytes, chance: random.Random, names: Sequence[bytes]) -> Op:
    """Return an opcode with any argument that it can have."""
    encoding = Op(code).encoding
    if encoding is None:
        return Op(code)
    if encoding in _NUMBER_SIZES:
        size = _NUMBER_SIZES[encoding]
        return Op(code, (chance.choice(NUMBERS) % 256**size).to_bytes(size, "little"))
    if encoding in _TEXT_SIZES:
        return Op(code, _sized(_TEXT_SIZES[encoding], chance.choice(WORDS)))
    return changed(Op(code), chance, names)


# ------------------------------------------------------------------------------------- mutations by opcode


def _effect(info: pickletools.OpcodeInfo) -> tuple[int, bool, int]:
    """Return how many values an opcode takes, whether it takes all down to a mark, and how many it leaves."""
    return len(info.stack_before), pickletools.markobject in info.stack_before, len(info.stack_after)


_SAME_EFFECT: dict[tuple[int, bool, int], list[bytes]] = {}
for _code, _info in BY_CODE.items():
    _SAME_EFFECT.setdefault(_effect(_info), []).append(_code)

INSERTED = (
    b"b", b"R", b"\x81", b"s", b"a", b"e", b"u", b"\x90", b"2", b"0", b"1", b"(", b"\x85", b"\x86", b"\x87", b"t",
    b"l", b"d", b"\x94", b"Q", b".", b"\x93", b"\x91", b"\x92", b"\x80", b"\x95",
)  # fmt: skip


@dataclass(frozen=True)
class Pool:
    """What mutants take in besides their own opcodes: other pickles, single values, and names as GLOBAL has them."""

    pickles: Sequence[Sequence[Op]]
    values: Sequence[Sequence[Op]]
    names: Sequence[bytes]


def mutated(ops: Sequence[Op], pool: Pool, chance: random.Random) -> list[Op]:
    """Return the opcodes after one to four mutations."""
    result = list(ops)
    for _ in range(chance.choice([1, 1, 1, 1, 2, 2, 3])):
        result = chance.choice(_MUTATIONS)(result, pool, chance)
    return result


def _drop(ops: list[Op], pool: Pool, chance: random.Random) -> list[Op]:
    at = chance.randrange(len(ops))
    return ops[:at] + ops[at + chance.choice([1, 1, 1, 2]) :]


def _duplicate(ops: list[Op], pool: Pool, chance: random.Random) -> list[Op]:
    at = chance.randrange(len(ops))
    return ops[: at + 1] + ops[at:]


def _swap(ops: list[Op], pool: Pool, chance: random.Random) -> list[Op]:
    one = chance.randrange(len(ops))
    other = one + 1 if chance.random() < 0.5 else chance.randrange(len(ops))
    if other < len(ops):
        ops[one], ops[other] = ops[other], ops[one]
    return ops


def _replace(ops: list[Op], pool: Pool, chance: random.Random) -> list[Op]:
    """Put an opcode of the same effect on the stack in the place of another."""
    at = chance.randrange(len(ops))
    ops[at] = _made(chance.choice(_SAME_EFFECT[_effect(BY_CODE[ops[at].code])]), chance, pool.names)
    return ops


def _change(ops: list[Op], pool: Pool, chance: random.Random) -> list[Op]:
    having = [at for at, op in enumerate(ops) if op.encoding is not None]
    if having:
        at = chance.choice(having)
        ops[at] = changed(ops[at], chance, pool.names)
    return ops


def _rename(ops: list[Op], pool: Pool, chance: random.Random) -> list[Op]:
    named = [at for at, op in enumerate(ops) if op.name == "GLOBAL"]
    if named:
        ops[chance.choice(named)] = Op(b"c", chance.choice(pool.names))
    return ops


def _insert(ops: list[Op], pool: Pool, chance: random.Random) -> list[Op]:
    at = chance.randrange(len(ops))
    return [*ops[:at], _made(chance.choice(INSERTED), chance, pool.names), *ops[at:]]


def _insert_pair(ops: list[Op], pool: Pool, chance: random.Random) -> list[Op]:
    """Put a value, and an opcode that uses it, behind some value: a state, arguments, an item."""
    spot = _chosen(ops, chance)
    if spot is None:
        return ops
    use = chance.choice([[b"b"], [b"R"], [b"\x81"], [b"a"], [b"0"], [b"\x85", b"R"], [b"\x85", b"\x81"], [b"\x86"]])
    more = list(_value(ops, pool, chance))
    if chance.random() < 0.2:
        more += _value(ops, pool, chance)
        use = [b"s"]
    return ops[: spot[1]] + more + [Op(code) for code in use] + ops[spot[1] :]


def _splice(ops: list[Op], pool: Pool, chance: random.Random) -> list[Op]:
    """Put another value in the place of one."""
    spot = _chosen(ops, chance)
    return ops if spot is None else ops[: spot[0]] + list(_value(ops, pool, chance)) + ops[spot[1] :]


def _add_argument(ops: list[Op], pool: Pool, chance: random.Random) -> list[Op]:
    """Put one more value into a tuple, list or dict that has a mark, or take one away."""
    closing = [at for at, op in enumerate(ops) if op.name in ("TUPLE", "APPENDS", "SETITEMS", "LIST", "DICT")]
    if not closing:
        return ops
    at = chance.choice(closing)
    if chance.random() < 0.5:
        ends = [spot for spot in expressions(ops[:at]) if spot[1] == at]
        return ops[: ends[-1][0]] + ops[at:] if ends else ops
    more = list(_value(ops, pool, chance))
    more += _value(ops, pool, chance) if ops[at].name in ("SETITEMS", "DICT") else ()
    return ops[:at] + more + ops[at:]


def _repeat(ops: list[Op], pool: Pool, chance: random.Random) -> list[Op]:
    """Make a value again, behind itself or in the place of another."""
    spot, to = _chosen(ops, chance), _chosen(ops, chance)
    if spot is None or to is None:
        return ops
    again = ops[spot[0] : spot[1]]
    if chance.random() < 0.5:
        return ops[: spot[1]] + again + [Op(chance.choice([b"0", b"\x86", b"b", b"a"]))] + ops[spot[1] :]
    return ops[: to[0]] + again + ops[to[1] :]


def _exchange(ops: list[Op], pool: Pool, chance: random.Random) -> list[Op]:
    """Let two values change places."""
    one, other = _chosen(ops, chance), _chosen(ops, chance)
    if one is None or other is None:
        return ops
    first, second = sorted([one, other])
    if first[1] > second[0]:
        return ops
    (a, b), (c, d) = first, second
    return ops[:a] + ops[c:d] + ops[b:c] + ops[a:b] + ops[d:]


def _cut(ops: list[Op], pool: Pool, chance: random.Random) -> list[Op]:
    """Go on with the second half of another pickle."""
    other = list(chance.choice(pool.pickles))
    return ops[: chance.randrange(1, len(ops))] + other[chance.randrange(len(other)) :]


def _memo(ops: list[Op], pool: Pool, chance: random.Random) -> list[Op]:
    """Remember a value in a slot that is in use, or take another slot than before."""
    slots = [at for at, op in enumerate(ops) if op.name in ("BINPUT", "BINGET", "LONG_BINPUT", "LONG_BINGET")]
    if not slots:
        return ops
    argument = ops[chance.choice(slots)]
    spot = _chosen(ops, chance)
    kind = "PUT" if chance.random() < 0.5 else "GET"
    code = {1: {"PUT": b"q", "GET": b"h"}, 4: {"PUT": b"r", "GET": b"j"}}[len(argument.argument)][kind]
    if kind == "PUT" and spot is not None:
        return [*ops[: spot[1]], Op(code, argument.argument), *ops[spot[1] :]]
    if spot is not None:
        return [*ops[: spot[0]], Op(code, argument.argument), *ops[spot[1] :]]
    return ops


def _chosen(ops: Sequence[Op], chance: random.Random) -> Expression | None:
    """Choose a value of the pickle, small ones as often as large ones."""
    spots = expressions(ops)
    for _ in range(8):
        if not spots:
            break
        spot = min((chance.choice(spots) for _ in range(chance.choice([1, 1, 2]))), key=lambda each: each[1] - each[0])
        if not _is_needed(ops, spot) or chance.random() < 0.05:
            return spot
    return None


def _is_needed(ops: Sequence[Op], spot: Expression) -> bool:
    """Tell whether a value fills a slot of the memo that is taken elsewhere."""
    inside = {op.argument for op in ops[spot[0] : spot[1]] if op.name in ("BINPUT", "LONG_BINPUT")}
    after = ops[spot[1] :]
    return bool(inside) and any(op.name in ("BINGET", "LONG_BINGET") and op.argument in inside for op in after)


def _value(ops: Sequence[Op], pool: Pool, chance: random.Random) -> Sequence[Op]:
    """Choose a value: one of this pickle, of another, or a single one."""
    where = chance.random()
    if where < 0.5:
        return chance.choice(pool.values)
    source = ops if where < 0.8 else chance.choice(pool.pickles)
    spot = _chosen(source, chance)
    return () if spot is None else source[spot[0] : spot[1]]


_MUTATIONS = [
    _drop, _duplicate, _swap, _replace, _insert, _cut, _memo, _change, _change, _change, _change, _rename, _rename,
    *[_insert_pair, _splice, _splice, _add_argument, _repeat, _exchange] * 3,
]  # fmt: skip


# ------------------------------------------------------------------------------------- mutations by byte


def mutated_bytes(data: bytes, chance: random.Random) -> bytes:
    """Return bytes after one to three mutations."""
    result = bytearray(data)
    for _ in range(chance.choice([1, 1, 1, 2, 3])):
        if result:
            _mutate_byte(result, chance.randrange(len(result)), chance)
    return bytes(result)


def _mutate_byte(data: bytearray, at: int, chance: random.Random) -> None:
    length = chance.choice([1, 1, 2, 4, 16])
    match chance.randrange(7):
        case 0 | 1:
            data[at] ^= 1 << chance.randrange(8)
        case 2:
            data[at] = chance.choice([0, 1, 2, 127, 128, 255, *b"(.0bRQt}]sa", chance.randrange(256)])
        case 3:
            data[at:at] = chance.randbytes(length)
        case 4:
            del data[at : at + length]
        case 5:
            data[at:at] = data[at : at + length]
        case _:
            value = _near(int.from_bytes(data[at : at + length], "little"), chance)
            data[at : at + length] = (value % 256**length).to_bytes(length, "little")[: len(data) - at]
