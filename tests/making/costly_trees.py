"""Checkpoints whose tree costs more than their bytes: nodes that are shared, long names, and what configurations hold.

Each function takes `n` and returns a whole checkpoint whose size is proportional to it.
"""

from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING

from making.checkpoints import zip_checkpoint
from making.costly_pickles import HUGE, again, file, kept, long_text, numbers
from making.pickles import Code, build, call, code, name, ordered_dict, pickled, tensor
from making.seeds import scripted, torchscript
from making.zips import Member, zip_archive

if TYPE_CHECKING:
    from collections.abc import Iterable

LONG_KEY = ".".join("0" * 1_600)  # 1,600 parts


def under_names(shared: object, n: int, *before: bytes, after: bytes = b"") -> bytes:
    """Pickle a dict that has one node under `n` names."""
    items = b"".join(code(str(i)) + again(0) for i in range(n))
    return pickled(Code(kept(shared, *before) + b"}(" + items + b"u" + after))


def shared_tensors(n: int) -> bytes:
    """A dict of `n` tensors under many names: the readers' limit on names per tensor ends it."""
    inner = Code(kept(tensor()) + code({f"t{i}": again(0) for i in range(n)}))
    return zip_checkpoint(under_names(inner, 16))


def shared_under_long_names(n: int) -> bytes:
    """Shared dicts, so that 10,000 keys of 1,600 parts come of few bytes (the issue's row, for `reindex`)."""
    leaves = Code(kept(tensor()) + code({f"t{i}": again(0) for i in range(n)}))
    return zip_checkpoint(pickled({"w": tensor(), LONG_KEY: {"a": Code(leaves + b"q\x01"), "b": again(1)}}))


def shared_under_many_names(n: int) -> bytes:
    """The same with several long names, each over one small dict."""
    leaves = Code(kept(tensor()) + code({str(i): again(0) for i in range(16)}) + b"q\x01")
    items = {f"{LONG_KEY}.{i}": leaves if i == 0 else again(1) for i in range(n)}
    return zip_checkpoint(pickled(items))


def shared_values(value: bytes, n: int) -> bytes:
    """Put a dict of one tensor and `n` plain values under `n` names."""
    inner = Code(code({"w": tensor()})[:-1] + b"".join(code(f"k{i}") + value for i in range(n)) + b"u")
    return zip_checkpoint(pickled({"w": tensor(), "x": Code(under_names(inner, n)[2:-1])}))


def shared_plain_values(n: int) -> bytes:
    """Plain values, many times over."""
    return shared_values(b"N", n)


def shared_long_numbers(n: int) -> bytes:
    """Numbers of 2,400 digits, many times over, each to be described."""
    inner = Code(kept(HUGE) + code({"w": tensor(), "v": Code(b"](" + again(0) * n + b"e")}))
    return zip_checkpoint(pickled({"w": tensor(), "x": Code(under_names(inner, n)[2:-1])}))


def shared_candidates(n: int) -> bytes:
    """A root without tensors of its own, whose children are all one large dict."""
    items = {f"k{i}": None for i in range(n)} | {"deep": {"w": tensor()}}
    return zip_checkpoint(under_names(items, n))


def foreign_behind_plain_values(n: int) -> bytes:
    """An object of an unknown class, behind plain values that are shared."""
    inner = Code(code({"w": tensor(), "v": numbers(n)}))
    items = b"".join(code(str(i)) + again(0) for i in range(n)) + code("end") + call(name("mynet", "Net"))
    return zip_checkpoint(pickled({"w": tensor(), "x": Code(kept(inner) + b"}(" + items + b"u")}))


def cycles_under_a_long_name(n: int) -> bytes:
    """A list that holds itself, under a long name that each fault shows."""
    return zip_checkpoint(pickled({"w": tensor(), "x" * n: Code(b"]q\0(" + again(0) * n + b"e")}))


def too_deep_under_a_long_name(n: int) -> bytes:
    """Lists deeper than allowed, under a long name."""
    inner = Code(b"]" * 195 + b"q\0](" + b"]" * n + b"ea" + b"a" * 194)
    return zip_checkpoint(pickled({"w": tensor(), "x" * n: inner}))


def long_bytes_at_the_root(n: int) -> bytes:
    """One long value of bytes under many names at a root without tensors, for `inspect`."""
    return zip_checkpoint(under_names(b"\xff" * n, n))


def long_numbers_at_the_root(n: int) -> bytes:
    """One long number under many names at a root without tensors, for `inspect`."""
    return zip_checkpoint(under_names(HUGE, n))


def one_long_key(n: int) -> bytes:
    """One key of 4,000 characters beside `n` short ones: a table would be as wide in each line."""
    items = {f"t{i}": again(0) for i in range(n)} | {"x" * 4_000: again(0)}
    return zip_checkpoint(pickled(Code(kept(tensor()) + code(items))))


def long_keys(n: int) -> bytes:
    """Keys of 4,000 characters, each spelt out."""
    items = {f"{i:x<4000}": again(0) for i in range(n)}
    return zip_checkpoint(pickled(Code(kept(tensor()) + code(items))))


def keys_that_begin_alike(n: int) -> bytes:
    """Keys of 1,600 parts that differ in the last: what sorts them looks at all parts."""
    items = {f"{LONG_KEY}.{i}": again(0) for i in range(n)}
    return zip_checkpoint(pickled(Code(kept(tensor()) + code(items))))


def keys_below_keys(n: int) -> bytes:
    """Keys each of which is the prefix of the next."""
    items = {".".join("a" * (1 + i % 190)) + f".{i // 190}" * (i >= 190): again(0) for i in range(n)}
    return zip_checkpoint(pickled(Code(kept(tensor()) + code(items))))


def control_characters(n: int) -> bytes:
    """Keys of characters that are written as ten."""
    items = {f"{i}" + "\U000e0001" * 400: again(0) for i in range(n)}
    return zip_checkpoint(pickled(Code(kept(tensor()) + code(items))))


# ------------------------------------------------------------------------------------- whole models


def blank(**parts: object) -> Code:
    """Push the state of a module."""
    empty: dict[str, object] = {"_parameters": {}, "_buffers": {}, "_modules": {}}
    return code(empty | parts)


def module(**parts: object) -> Code:
    """Push a module of an unknown class."""
    return build(Code(name("mynet", "Net") + b")\x81"), blank(**parts))


def shared_modules(n: int) -> bytes:
    """One module of `n` parameters under many names of a whole model."""
    inner = module(_parameters=Code(kept(tensor()) + code({f"p{i}": again(0) for i in range(n)})))
    outer = Code(
        kept(inner) + module(_modules=Code(b"}(" + b"".join(code(str(i)) + again(0) for i in range(16)) + b"u"))
    )
    return zip_checkpoint(pickled(outer))


def modules_of_modules(n: int) -> bytes:
    """Modules that hold the one before twice: more paths than atoms, from few bytes."""
    code_ = Code(module(_parameters={"w": tensor()}) + b"q\x00")
    for _ in range(min(n, 190)):
        code_ = Code(code_ + b"0" + module(_modules={"a": again(0), "b": again(0)}) + b"q\x00")
    return zip_checkpoint(pickled(Code(code_ + b"0" + b"N0" * n + again(0))))


def hidden_buffers(n: int) -> bytes:
    """Modules that share one long list of the names of their buffers."""
    names = Code(b"](" + code("b") + b"2" * n + b"e")
    small = Code(name("mynet", "Net") + b")\x81" + again(1) + b"b")
    state = blank(_parameters={"w": tensor()}, _non_persistent_buffers_set=again(0))
    inner = b"".join(code(str(i)) + small for i in range(n))
    return zip_checkpoint(pickled(Code(kept(names, state) + module(_modules=Code(b"}(" + inner + b"u")))))


# ------------------------------------------------------------------------------------- configurations


def configured(config: bytes) -> bytes:
    """Write a checkpoint with a configuration under the key `config`."""
    return zip_checkpoint(pickled({"w": tensor(), "config": Code(config)}))


def shared_in_config(value: object, n: int) -> bytes:
    """Hold one value `n` times."""
    return configured(Code(kept(value) + b"](" + again(0) * n + b"e"))


def config_of_shared_lists(n: int) -> bytes:
    """A list of `n` numbers, `n` times."""
    return shared_in_config(numbers(n), n)


def config_of_shared_mappings(n: int) -> bytes:
    """A subclass of dict that sets one key `n` times, shared `n` times."""
    pairs = Code(call(name("mynet", "AttrDict")) + b"(" + (code("a") + b"N") * n + b"u")
    return shared_in_config(pairs, n)


def config_of_shared_paths(n: int) -> bytes:
    """A path of `n` parts that are nothing, shared `n` times."""
    return shared_in_config(Code(name("pathlib", "PosixPath") + b"(" + code("") + b"2" * (n - 1) + b"tR"), n)


def config_of_shared_sets(n: int) -> bytes:
    """A set of `n` numbers, to be sorted each time."""
    items = b"".join(code(i) for i in range(n))
    return shared_in_config(Code(b"\x8f(" + items + b"\x90"), n)


def config_of_long_texts(n: int) -> bytes:
    """A long text, shared."""
    return shared_in_config(long_text(n), n)


def config_under_a_long_key(n: int) -> bytes:
    """Numbers below a long key, whose path is made for each."""
    floats = Code(kept(0.5) + b"](" + again(0) * n + b"e")
    return configured(code({"x" * n: floats}))


def config_of_nested_shares(n: int) -> bytes:
    """Lists that hold the one before ten times, seven levels deep, beside `n` values."""
    made: Code = Code(b"](" + b"K\1" * 10 + b"e" + b"q\0")
    for _ in range(6):
        made = Code(made + b"0](" + again(0) * 10 + b"eq\0")
    return configured(Code(b"](" + made + b"N" * n + b"e"))


def config_of_shared_tensors(n: int) -> bytes:
    """A tensor of four numbers, `n` times."""
    return shared_in_config(tensor(), n)


def config_of_shared_objects(n: int) -> bytes:
    """An object with `n` attributes, `n` times."""
    attributes = b"}(" + b"".join(code(f"a{i}") + b"N" for i in range(n)) + b"u"
    return shared_in_config(Code(call(name("mynet", "Settings")) + attributes + b"b"), n)


def config_of_interpolations(n: int) -> bytes:
    """Nodes of OmegaConf, each of which interpolates the next one twice, and `n` that interpolate the first."""
    texts = {f"k{i}": f"${{k{i + 1}}}${{k{i + 1}}}" for i in range(20)} | {"k20": ""}
    texts |= {f"n{i}": "${k0}" for i in range(n)}
    nodes = {key: build(call(name("omegaconf.nodes", "AnyNode")), {"_val": text}) for key, text in texts.items()}
    return configured(build(call(name("omegaconf.dictconfig", "DictConfig")), {"_content": nodes}))


def config_with_a_near_key(n: int) -> bytes:
    """A root where the key of the configuration is missing, and `n` others look like it."""
    return zip_checkpoint(pickled({"w": tensor()} | {f"c{i:06x}": None for i in range(n)}))


# ------------------------------------------------------------------------------------- TorchScript

MODULES = b"""class Net(Module):
  __parameters__ = ["w", ]
  __buffers__ = []
"""


def scripted_net(attributes: bytes) -> Code:
    """Push an object of the class `Net` with a state."""
    return scripted("Net", Code(attributes))


def torchscript_shared(n: int) -> bytes:
    """One module, shared `n` times by each of two that are shared themselves (the issue's row)."""
    inner = scripted_net(code({"w": tensor()}))
    middle = scripted_net(b"}(" + b"".join(code(f"a{i}") + again(0) for i in range(n)) + b"u")
    outer = scripted_net(b"}(" + b"".join(code(f"b{i}") + again(1) for i in range(n)) + b"u")
    return torchscript(pickled(Code(kept(inner, middle) + outer)), MODULES)


def torchscript_chain(n: int) -> bytes:
    """Modules that hold the one before twice, 17 times, with names of `n` characters."""
    made = Code(scripted_net(code({"w": tensor()})) + b"q\0")
    for _ in range(14):
        items = code("x" * (n // 14)) + again(0) + code("y") + again(0)
        made = Code(made + b"0" + scripted_net(b"}(" + items + b"u") + b"q\0")
    return torchscript(pickled(made), MODULES)


def torchscript_attributes(n: int) -> bytes:
    """One dict of `n` attributes, shared by `n` modules."""
    shared = Code(b"}(" + b"".join(code(f"a{i}") + b"N" for i in range(n)) + b"u")
    child = name("__torch__", "Net") + b")\x81" + again(0) + b"b"
    outer = scripted_net(b"}(" + b"".join(code(f"m{i}") + child for i in range(n)) + b"u")
    return torchscript(pickled(Code(kept(shared) + outer)), MODULES)


def torchscript_classes(n: int) -> bytes:
    """Code of many classes."""
    classes = b"".join(b"class C%d(Module):\n" % i for i in range(n))
    return torchscript(pickled(scripted_net(code({"w": tensor()}))), MODULES + classes)


def torchscript_deflated_classes(n: int) -> bytes:
    """The same, deflated."""
    classes = b"".join(b"class C%x(Module):\n" % i for i in range(8 * n))
    return torchscript(pickled(scripted_net(code({"w": tensor()}))), MODULES + classes, method=8)


def torchscript_deflated_names(n: int) -> bytes:
    """One line with the names of many parameters, deflated."""
    line = b'  __parameters__ = ["w", ' + b'"ab", ' * (64 * n) + b"]\n"
    source = b"class Net(Module):\n" + line + b"  __buffers__ = []\n"
    return torchscript(pickled(scripted_net(code({"w": tensor()}))), source, method=8)


def torchscript_files(n: int) -> bytes:
    """A class of its own for each module, in a file of its own."""
    children = b"".join(
        code(f"m{i}") + build(Code(name(f"__torch__.m{i}", "Net") + b")\x81"), {"w": tensor()}) for i in range(n)
    )
    data = torchscript(pickled(scripted_net(b"}(" + children + b"u")), MODULES)
    return with_members(data, (Member(f"archive/code/__torch__/m{i}.py", MODULES) for i in range(n)))


def with_members(data: bytes, more: Iterable[Member]) -> bytes:
    """Return an archive of one tensor that has these members, too; `data` is another, whose pickle it takes."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        old = [Member(info.filename, archive.read(info)) for info in archive.infolist()]
    return zip_archive([*old, *more])


def honest_tensors(n: int) -> bytes:
    """A checkpoint of `n` honest tensors, for comparison."""
    items = {f"layer.{i}.weight": tensor() for i in range(n)}
    return zip_checkpoint(pickled(ordered_dict(items)))


def honest_numbers(n: int) -> bytes:
    """An honest checkpoint with an optimizer's integers beside its tensors, for comparison."""
    return file(code({i: {"step": i, "group": 0} for i in range(n)}))
