"""Files whose modules cost more than their bytes: code and programs that say classes and settings without end.

Each function takes `n` and returns a whole checkpoint whose size is proportional to it.
"""

from __future__ import annotations

import json
from typing import Any

from making.checkpoints import EXPORTED_TENSOR, EXPORTED_WEIGHT, exported, torch_members, zip_checkpoint
from making.costly_pickles import again, kept
from making.costly_trees import MODULES, blank, module, scripted_net
from making.pickles import Code, build, code, name, pickled, tensor
from making.seeds import torchscript
from making.values import FLOATS
from making.zips import Member, zip_archive

# ------------------------------------------------------------------------------------- TorchScript


def scripted_lines(line: bytes, n: int, **of_code: Any) -> bytes:
    """Write a module whose class has a line `n` times, "%d" being its number."""
    lines = b"".join(line.replace(b"%d", b"%d" % i) for i in range(n))
    return torchscript(pickled(scripted_net(code({"w": tensor()}))), MODULES + lines, **of_code)


def scripted_constants(n: int) -> bytes:
    """One class of `n` constants."""
    return scripted_lines(b"  c%d : Final[int] = 1\n", n)


def scripted_constants_of_no_value(n: int) -> bytes:
    """One class of `n` constants, none of which can be read."""
    return scripted_lines(b"  c : Final[int] = x\n", n)


def scripted_deflated_constants(n: int) -> bytes:
    """The same, deflated."""
    return scripted_lines(b"  c : Final[int] = x\n", 16 * n, method=8)


def scripted_deep_constants(n: int) -> bytes:
    """Constants of 900 brackets."""
    return scripted_lines(b"  c : Final[int] = " + b"(" * 900 + b"\n", n // 900)


def scripted_deep_constant(n: int) -> bytes:
    """One constant of `n` brackets."""
    return scripted_lines(b"  c : Final[int] = " + b"[" * n + b"\n", 1)


def scripted_wide_constants(n: int) -> bytes:
    """Constants of 400 numbers."""
    return scripted_lines(b"  c : Final[int] = (" + b"1," * 400 + b")\n", n // 800)


def scripted_classes_of_constants(n: int) -> bytes:
    """One class of 64 constants, shared by `n` modules."""
    constants = b"".join(b"  c%d : Final[int] = 1\n" % i for i in range(64))
    child = scripted_net(code({}))
    outer = scripted_net(b"}(" + b"".join(code(f"m{i}") + child for i in range(n)) + b"u")
    return torchscript(pickled(outer), MODULES + constants)


def scripted_calls(line: bytes, n: int) -> bytes:
    """Write a convolution whose class has a line `n` times."""
    layer = build(Code(name("__torch__.torch.nn.modules.conv", "Conv2d") + b")\x81"), {})
    source = b"class Conv2d(Module):\n  __parameters__ = []\n  __buffers__ = []\n" + line * n
    members = torch_members(pickled(layer))
    more = [
        Member("archive/code/__torch__/torch/nn/modules/conv.py", source),
        Member("archive/constants.pkl", pickled(())),
    ]
    return zip_archive([*members, *more])


def scripted_calls_in_calls(n: int) -> bytes:
    """Lines of calls in calls, none of which ends."""
    return scripted_calls(b"    " + b"torch.conv2d(" * 70 + b"\n", n // 900)


def scripted_calls_of_numbers(n: int) -> bytes:
    """Lines of one call with 400 arguments."""
    return scripted_calls(b"    torch.conv2d(" + b"1," * 400 + b")\n", n // 800)


def scripted_short_calls(n: int) -> bytes:
    """Lines of 60 calls."""
    return scripted_calls(b"    " + b"torch.conv2d()" * 60 + b"\n", n // 840)


# ------------------------------------------------------------------------------------- whole models


def settings_again(n: int) -> bytes:
    """Modules that share 64 settings, each of them one tuple of 60 numbers."""
    numbers = code(tuple(range(60)))
    state = Code(blank(**{f"s{i}": again(0) for i in range(64)}))
    small = Code(name("mynet", "Net") + b")\x81" + again(1) + b"b")
    inner = b"".join(code(str(i)) + small for i in range(n))
    return zip_checkpoint(pickled(Code(kept(numbers, state) + module(_modules=Code(b"}(" + inner + b"u")))))


def settings_too_long(n: int) -> bytes:
    """Modules that share one state of lists in lists, none of which is a setting."""
    lists = Code(kept([0] * 60) + b"](" + again(0) * 60 + b"e")
    state = Code(blank(**{f"s{i}": again(1) for i in range(100)}))
    small = Code(name("mynet", "Net") + b")\x81" + again(2) + b"b")
    inner = b"".join(code(str(i)) + small for i in range(n))
    start = lists + b"q\x010" + state + b"q\x020"
    return zip_checkpoint(pickled(Code(start + module(_modules=Code(b"}(" + inner + b"u")))))


def long_class_names(n: int) -> bytes:
    """Modules whose class has a name of 10,000 characters."""
    small = Code(again(0) + b")\x81" + blank() + b"b")
    inner = b"".join(code(str(i)) + small for i in range(n))
    return zip_checkpoint(
        pickled(Code(kept(name("mynet", "N" * 10_000)) + module(_modules=Code(b"}(" + inner + b"u"))))
    )


def modules_without_tensors(n: int) -> bytes:
    """Modules that hold the one before twice, under names of `n // 20` characters: more paths than atoms."""
    made = Code(module() + b"q\x00")
    for _ in range(20):
        made = Code(made + b"0" + module(_modules={"a" * (n // 20): again(0), "b": again(0)}) + b"q\x00")
    return zip_checkpoint(pickled(Code(made)))


# ------------------------------------------------------------------------------------- exported programs


def program(*nodes: bytes) -> bytes:
    """Write the JSON of a program of these nodes."""
    return b'{"graph_module":{"graph":{"nodes":[' + b",".join(nodes) + b"]}}}"


def node(stack: str = ",,N;,c,torch.nn.modules.conv.Conv2d", given: object = None) -> bytes:
    """Write the JSON of a node that calls a convolution."""
    inputs = [{"name": "stride", "arg": {"as_ints": [1, 1] if given is None else given}, "kind": 1}]
    metadata = {"nn_module_stack": stack}
    return json.dumps({"target": "torch.ops.aten.conv2d.default", "inputs": inputs, "metadata": metadata}).encode()


def exported_program(text: bytes, method: int = 0) -> bytes:
    """Write a `.pt2` archive of one weight with a program."""
    return exported(extra=(Member("m/models/model.json", text, method=method),))


def exported_nodes(n: int) -> bytes:
    """A program that calls one module `n` times."""
    return exported_program(program(*[node()] * n))


def exported_deflated_nodes(n: int) -> bytes:
    """The same, deflated."""
    return exported_program(program(*[node()] * n), method=8)


def exported_modules(n: int) -> bytes:
    """A program of `n` modules."""
    return exported_program(program(*(node(f",m{i},torch.nn.modules.conv.Conv2d") for i in range(n))))


def exported_short_modules(n: int) -> bytes:
    """A program of one node, which comes from `n` modules."""
    return exported_program(program(node(";".join(f",{i}," for i in range(n)))))


def exported_arguments(n: int) -> bytes:
    """A program of one call with `n` numbers."""
    return exported_program(program(node(given=[1] * n)))


def exported_deep(n: int) -> bytes:
    """A program of nothing but brackets."""
    return exported_program(b"[" * n)


def exported_lists(n: int) -> bytes:
    """A program of empty lists, deflated."""
    return exported_program(b"[" + b"[]," * (16 * n) + b"0]", method=8)


def exported_digits(n: int) -> bytes:
    """A program of one number."""
    return exported_program(b"1" * n)


def exported_models(n: int) -> bytes:
    """Programs of one node each."""
    weight = EXPORTED_WEIGHT | {"tensor_meta": EXPORTED_TENSOR}
    config = json.dumps({"config": {"w": weight}}).encode()
    members = [Member("m/archive_format", b"pt2"), Member("m/data/weights/weight_0", FLOATS)]
    for i in range(n):
        members.append(Member(f"m/data/weights/m{i}_weights_config.json", config))
        members.append(Member(f"m/models/m{i}.json", program(node())))
    return zip_archive(members)
