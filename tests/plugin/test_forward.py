"""`golden` on what looks like torch: modules with its hooks and modes, over numpy. Real torch is in tests/oracle."""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from hatch_wheelweights import ConfigError, golden
from wheelweights import RecordError
from wheelweights.golden import names_fault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Module:
    """As much of torch.nn.Module as `golden` uses."""

    def __init__(self, function: Callable[..., Any] | None = None, **children: Module) -> None:
        self.training = True
        self.children = children
        self.function = function
        self.before: list[Any] = []
        self.after: list[Any] = []

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        for hook in list(self.before):
            hook(self, args, kwargs)
        output = self.function(*args, **kwargs) if self.function is not None else None
        for hook in list(self.after):
            hook(self, args, kwargs, output)
        return output

    def __getattr__(self, name: str) -> Module:
        children = self.__dict__.get("children", {})
        if name not in children:
            raise AttributeError(name)
        child: Module = children[name]
        return child

    def named_modules(self, remove_duplicate: bool = True) -> Iterator[tuple[str, Module]]:
        assert not remove_duplicate
        yield "", self
        for name, child in self.children.items():
            for below, module in child.named_modules(remove_duplicate=False):
                yield f"{name}.{below}" if below else name, module

    def modules(self) -> Iterator[Module]:
        return (module for _, module in self.named_modules(remove_duplicate=False))

    def eval(self) -> Module:
        for module in self.modules():
            module.training = False
        return self

    def register_forward_pre_hook(self, hook: Any, *, with_kwargs: bool) -> Handle:
        return Handle(self.before, hook, with_kwargs)

    def register_forward_hook(self, hook: Any, *, with_kwargs: bool) -> Handle:
        return Handle(self.after, hook, with_kwargs)


class Handle:
    def __init__(self, hooks: list[Any], hook: Any, with_kwargs: bool) -> None:
        assert with_kwargs
        hooks.append(hook)
        self.remove = lambda: hooks.remove(hook)


X = np.arange(6, dtype=np.float32).reshape(2, 3)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def made(model: Any, *inputs: Any, **options: Any) -> dict[str, Any]:
    golden(model, *inputs, path="golden.npz", **options)
    assert [path.name for path in Path().iterdir()] == ["golden.npz"]
    with np.load("golden.npz", allow_pickle=False) as arrays:
        found = dict(arrays)
    assert names_fault(found) is None
    return found


def refused(model: Any, *inputs: Any, **options: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        golden(model, *inputs, path="golden.npz", **options)
    assert list(Path().iterdir()) == []
    return str(caught.value)


def nested() -> Module:
    """Return a model with a part in a part, which comes before it, and one that is called twice."""
    model = Module(outer=Module(inner=Module(lambda x: x + 1)), twice=Module(lambda x: x * 3), idle=Module())
    model.outer.function = lambda x: model.outer.inner(x) * 2
    model.function = lambda x: model.twice(model.twice(model.outer(x)))
    return model


# --------------------------------------------------------------------------------------------------------------- names


def test_one_array_is_the_input_and_one_the_output() -> None:
    arrays = made(Module(lambda x: x + 1), X)
    assert list(arrays) == ["input", "output"]
    np.testing.assert_array_equal(arrays["input"], X)
    np.testing.assert_array_equal(arrays["output"], X + 1)


@dataclass
class Outputs:
    logits: Any
    hidden: Any = None


@pytest.mark.parametrize(
    ("inputs", "kwargs", "keys"),
    [
        ((X, X), {}, ["input.0", "input.1"]),
        ((X,), {"mask": X}, ["input.0", "input.mask"]),
        ((), {"x": X, "y": None}, ["input.x"]),
        (((X, [X, X]),), {}, ["input.0.0", "input.0.1.0", "input.0.1.1"]),
        (({"ids": X, "more": {"mask": X}},), {}, ["input.0.ids", "input.0.more.mask"]),
        ((X, None, X), {}, ["input.0", "input.2"]),
        ((X, 3), {"deep": True}, ["input.0", "input.1", "input.deep"]),
    ],
)
def test_several_inputs_have_places(inputs: tuple[Any, ...], kwargs: dict[str, Any], keys: list[str]) -> None:
    assert list(made(Module(lambda *_, **__: X), *inputs, kwargs=kwargs)) == [*keys, "output"]


@pytest.mark.parametrize(
    ("output", "keys"),
    [
        ((X, (X, X)), ["output.0", "output.1.0", "output.1.1"]),
        ([X], ["output.0"]),
        ((X, None), ["output.0"]),
        (OrderedDict(logits=X, hidden=(X,)), ["output.logits", "output.hidden.0"]),
        (Outputs(X, [X]), ["output.logits", "output.hidden.0"]),
        (Outputs(X), ["output.logits"]),
        ({3: X}, ["output.3"]),
    ],
)
def test_nested_outputs_have_places(output: Any, keys: list[str]) -> None:
    assert list(made(Module(lambda _: output), X)) == ["input", *keys]


def test_parts_have_inputs_and_outputs_of_their_own_in_the_order_of_their_return() -> None:
    arrays = made(nested(), X, modules=["twice", "outer", "outer.inner"])
    assert list(arrays) == [
        "input", "output", "outer.inner/input", "outer.inner/output", "outer/input", "outer/output", "twice/input",
        "twice/output",
    ]  # fmt: skip
    np.testing.assert_array_equal(arrays["outer.inner/output"], X + 1)
    np.testing.assert_array_equal(arrays["outer/input"], X)
    np.testing.assert_array_equal(arrays["outer/output"], (X + 1) * 2)


def test_of_several_calls_the_first_counts() -> None:
    arrays = made(nested(), X, modules=["twice"])
    np.testing.assert_array_equal(arrays["twice/input"], (X + 1) * 2)
    np.testing.assert_array_equal(arrays["twice/output"], (X + 1) * 6)


def test_of_a_part_that_calls_itself_the_outer_call_counts() -> None:
    model = Module(part=Module())
    model.part.function = lambda x: x if x.max() > 20 else model.part(x * 2) + 1
    model.function = model.part
    arrays = made(model, X, modules=["part"])
    np.testing.assert_array_equal(arrays["part/input"], X)
    np.testing.assert_array_equal(arrays["part/output"], arrays["output"])


def test_one_name_need_not_be_in_a_list() -> None:
    assert "twice/output" in made(nested(), X, modules="twice")


def test_arrays_are_as_they_were_before_anything_changed_them() -> None:
    def rude(x: Any) -> Any:
        x += 100
        return x

    model = Module(first=Module(rude), second=Module(rude))
    model.function = lambda x: model.second(model.first(x))
    arrays = made(model, X.copy(), modules=["first", "second"])
    for key, added in {"input": 0, "first/input": 0, "first/output": 100, "second/output": 200, "output": 200}.items():
        np.testing.assert_array_equal(arrays[key], X + added)


def test_the_same_run_writes_the_same_bytes() -> None:
    made(nested(), X, modules=["outer"])
    first = Path("golden.npz").read_bytes()
    made(nested(), X, modules=["outer"])
    assert Path("golden.npz").read_bytes() == first


# ------------------------------------------------------------------------------------------------------------ the model


def test_the_model_runs_in_evaluation_mode_and_gets_its_modes_back() -> None:
    model = nested()
    model.outer.inner.training = False
    seen: list[bool] = []

    def look(x: Any) -> Any:
        seen.extend(module.training for module in model.modules())
        return x

    model.twice.function = look
    made(model, X)
    assert set(seen) == {False}
    assert [module.training for module in model.modules()] == [True, True, False, True, True]


def test_a_model_that_raises_gets_its_modes_back_and_loses_its_hooks() -> None:
    model = nested()
    model.twice.function = lambda x: 1 / 0
    with pytest.raises(ZeroDivisionError):
        golden(model, X, path="golden.npz", modules=["outer", "twice"])
    assert [module.training for module in model.modules()] == [True] * 5
    assert [hook for module in model.modules() for hook in module.before + module.after] == []
    assert list(Path().iterdir()) == []


def test_hooks_of_others_stay() -> None:
    model = nested()
    calls: list[Any] = []
    model.outer.register_forward_hook(lambda *call: calls.append(call), with_kwargs=True)
    made(model, X, modules=["outer"])
    assert len(calls) == 1
    assert len(model.outer.after) == 1
    assert [hook for module in model.modules() for hook in module.before] == []


def test_gradients_are_off_where_torch_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    on = [True]

    class Torch:
        @staticmethod
        @contextlib.contextmanager
        def no_grad() -> Iterator[None]:
            on.append(False)
            yield
            on.pop()

    monkeypatch.setitem(__import__("sys").modules, "torch", Torch)
    seen: list[bool] = []

    def look(x: Any) -> Any:
        seen.append(on[-1])
        return x

    made(Module(look), X)
    assert seen == [False]
    assert on == [True]


# -------------------------------------------------------------------------------------------------------- what is wrong


def test_what_is_no_model_is_refused() -> None:
    assert refused(lambda x: x, X) == "model: expected a torch.nn.Module, found `function`"


def test_all_parts_that_are_not_there_are_named() -> None:
    assert refused(nested(), X, modules=["outer.iner", "x", "twice", ""]) == (
        "configuration: 3 faults: modules, modules, modules\n"
        "  modules: no module `outer.iner`\n"
        "    Did you mean `outer.inner`?\n"
        "  modules: no module `x`\n"
        "  modules: no module ``"
    )


def test_a_part_that_is_not_called_is_named() -> None:
    assert refused(nested(), X, modules=["idle", "outer"]) == (
        "modules: module `idle` was not called by the forward pass\n"
        "  Name one that is called; of nn.MultiheadAttention, name the whole module."
    )


@pytest.mark.parametrize(
    ("value", "shown"),
    [("text", "`str`"), (object(), "`object`"), ({1, 2}, "`set`"), (2**80, "`int`"), (np.array(["a"]), "`ndarray`")],
)
def test_what_no_array_can_hold_is_refused_with_its_place(value: Any, shown: str) -> None:
    model = Module(part=Module(lambda x, y: x))
    model.function = lambda x, *_: model.part(x, value)
    assert refused(model, X, value).startswith(f"inputs: expected a tensor or a number at `input.1`, found {shown} (")
    assert refused(Module(lambda x: (x, {"a": value})), X).startswith(
        f"outputs: expected a tensor or a number at `output.1.a`, found {shown} ("
    )
    said = refused(model, X, modules=["part"])
    assert said.startswith(f"inputs: expected a tensor or a number at `part/input.1`, found {shown} (")
    assert said.endswith("\n  Leave `part` out of `modules`.")
    assert model.part.before == model.part.after == []


@pytest.mark.parametrize("key", ["a.b", "a/b", "", "3", 3, None])
def test_a_key_that_would_be_read_otherwise_is_refused(key: Any) -> None:
    expected = (
        f"inputs: expected a name without dots and slashes, found {str(key)!r}, as a key in the inputs of the model"
    )
    assert refused(Module(lambda *_: X), X, {"x": [{key: X}]}) == expected


def test_two_values_of_one_name_are_refused() -> None:
    assert refused(Module(lambda _: {1: X, "1": X}), X) == "model: two values have the name `output.1`"


@pytest.mark.parametrize(
    ("output", "inputs", "fault"),
    [(None, (X,), "no `output` among its arrays"), (X, (None,), "no `input` among its arrays")],
)
def test_a_model_without_inputs_or_outputs_is_refused(output: Any, inputs: tuple[Any, ...], fault: str) -> None:
    assert refused(Module(lambda *_: output), *inputs).startswith(f"model: cannot be compared later: {fault}")


def test_a_part_without_inputs_is_refused() -> None:
    model = Module(token=Module(lambda: X))
    model.function = lambda x: model.token() + x
    assert refused(model, X, modules=["token"]) == (
        "model: cannot be compared later: no `token/input` among its arrays\n  Leave the part out of `modules`."
    )


def test_a_file_that_cannot_be_written_is_named_and_leaves_nothing() -> None:
    with pytest.raises(RecordError) as caught:
        golden(Module(lambda x: x), X, path=Path("no") / "golden.npz")
    assert str(caught.value) == "no/golden.npz: cannot be written: No such file or directory"
    assert list(Path().iterdir()) == []
