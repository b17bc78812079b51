"""The hook's table: what it may say, and that every fault is reported at once with its path."""

from __future__ import annotations

import copy
import pickle
import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hatch_wheelweights.errors import ConfigError
from hatch_wheelweights.options.distribution import Distribution
from hatch_wheelweights.options.model import HookOptions, RecordOptions, specs
from hatch_wheelweights.options.table import load
from hatch_wheelweights.options.toml import toml_name

RECORD: dict[str, Any] = {"source": "weights/digits.pt", "output": "src/digits/digits.mpk"}
AT = "hooks.wheelweights.records[0]"
KNOWN = ", ".join(sorted(map(toml_name, specs(RecordOptions))))


def _table(**options: Any) -> dict[str, Any]:
    """Return a table with one record that has these options besides the two it needs."""
    return {"records": [{**RECORD, **{name.replace("_", "-"): value for name, value in options.items()}}]}


def _faults(table: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        load(table)
    return str(caught.value)


# What may be said


def test_reads_every_option_of_the_documented_table():
    table = tomllib.loads(r"""
        compression = "stored"
        sdist = "sources"
        distribution = { name = "Big_Weights", version = "3", max-size = "95MB" }
        [[records]]
        source = "weights/digits.pt"
        output = "src/digits/digits.mpk"
        top-level-key = "model_state"
        key-remap = [ { pattern = 'conv\.(.*)', replacement = '$1' } ]
        reindex = false
        precision = "half"
        include = ['^encoder\.']
        exclude = ['\.num_batches_tracked$']
        config-key = ["args", "model"]
        metadata = { license = "MIT" }
        whole-model = true
        debug = true
    """)
    record = RecordOptions(
        source="weights/digits.pt",
        output="src/digits/digits.mpk",
        top_level_key=("model_state",),
        key_remap=(("conv\\.(.*)", "$1"),),
        reindex=False,
        precision="half",
        include=("^encoder\\.",),
        exclude=("\\.num_batches_tracked$",),
        config_key=("args", "model"),
        metadata={"license": "MIT"},
        whole_model=True,
        debug=True,
    )
    distribution = Distribution("big-weights", "3", 95_000_000)
    assert load(table) == HookOptions("stored", "sources", distribution, (record,))


def test_defaults_are_those_of_the_documentation():
    assert load(_table()) == HookOptions("deflated", "records", None, (RecordOptions(**RECORD),))
    assert RecordOptions(**RECORD) == RecordOptions(
        source="weights/digits.pt",
        output="src/digits/digits.mpk",
        top_level_key=(),
        key_remap=(),
        reindex=True,
        precision="keep",
        include=(),
        exclude=(),
        config_key=(),
        metadata={},
        whole_model=False,
        debug=False,
    )


def test_lets_the_options_of_hatch_itself_pass():
    hatchs = {
        "dependencies": ["a"],
        "require-runtime-dependencies": True,
        "require-runtime-features": ["b"],
        "enable-by-default": False,
    }
    assert load({**_table(), **hatchs}) == load(_table())


def test_reads_rules_of_precision():
    rules = [{"pattern": "^head", "dtype": "keep"}, {"pattern": "", "dtype": "half"}, {"pattern": "x", "dtype": "int8"}]
    read = (("^head", "keep"), ("", "half"), ("x", "int8"))
    assert load({"records": [{**RECORD, "precision": rules}]}).records[0].precision == read
    assert load({"records": [{**RECORD, "precision": []}]}).records[0].precision == "keep"


def test_never_changes_the_table():
    table = {"compression": "stored", **_table(key_remap=[{"pattern": "a", "replacement": "b"}], metadata={"a": "b"})}
    before = copy.deepcopy(table)
    options = load(table)
    assert table == before
    table["records"][0]["metadata"]["a"] = "c"
    assert options.records[0].metadata == {"a": "b"}


def test_makes_paths_plain():
    (record,) = load({"records": [{"source": "./weights//digits.pt", "output": "src/./digits.mpk"}]}).records
    assert (record.source, record.output) == ("weights/digits.pt", "src/digits.mpk")


@pytest.mark.parametrize(
    "output", ["src/{stem}.mpk", "src/{stem}/weights.mpk", "src/{stem}-{stem}.mpk"], ids=["name", "folder", "twice"]
)
def test_takes_a_stem_with_and_without_a_glob(output):
    for source in ("weights/*.pt", "weights/a.pt"):
        assert load({"records": [{"source": source, "output": output}]}).records[0].output == output


# Faults


def test_gathers_all_faults_with_their_paths():
    table = {
        "compresion": "stored",
        "compression": "zip",
        "records": [
            {
                "source": "../digits.pt",
                "output": "digits.bin",
                "key-remap": [{"pattern": "a", "replacement": "b"}, {"pattern": "conv(\\.(.*)", "replacement": "$1"}],
                "precision": "float16",
            },
            "weights.pt",
            {"source": "a.pt"},
        ],
    }
    assert _faults(table) == (
        "configuration: 8 faults: hooks.wheelweights.compresion, hooks.wheelweights.compression,"
        f" {AT}.source, {AT}.output and 4 more\n"
        "  hooks.wheelweights.compresion: unknown option\n"
        "    Did you mean `compression`?\n"
        "  hooks.wheelweights.compression: expected `deflated` or `stored`, found `zip`\n"
        f"  {AT}.source: expected a path inside the project, found `..` in `../digits.pt`\n"
        "    Link it into the project, say: ln -s ../digits.pt digits.pt (links are followed).\n"
        f"  {AT}.output: expected a path ending in `.mpk`, found `digits.bin`\n"
        "    Write digits.mpk.\n"
        f"  {AT}.key-remap[1].pattern: missing ), unterminated subpattern at position 4\n"
        "      conv(\\.(.*)\n"
        "          ^\n"
        "    Close the group, or write \\( to match a literal parenthesis.\n"
        f"  {AT}.precision: expected `keep`, `full`, `half`, `double` or `bfloat16`, found `float16`\n"
        "    Write half.\n"
        "  hooks.wheelweights.records[1]: expected a table, found a string (`weights.pt`)\n"
        "  hooks.wheelweights.records[2].output: expected a path, found nothing\n"
        '    Write, say: output = "src/my_package/model.mpk"'
    )


def test_one_fault_is_the_whole_message():
    table = _table(key_remap=[{"pattern": "a", "replacement": "b"}, {"pattern": "conv(\\.(.*)", "replacement": "$1"}])
    assert _faults(table) == (
        f"{AT}.key-remap[1].pattern: missing ), unterminated subpattern at position 4\n"
        "    conv(\\.(.*)\n"
        "        ^\n"
        "  Close the group, or write \\( to match a literal parenthesis."
    )


def test_error_keeps_its_faults_and_survives_pickling():
    with pytest.raises(ConfigError) as caught:
        load(_table(debug=1, reindex=0))
    assert caught.value.errors == (
        f"{AT}.debug: expected a boolean, found an integer (1)",
        f"{AT}.reindex: expected a boolean, found an integer (0)",
    )
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.errors, str(again)) == (caught.value.errors, str(caught.value))


NO_RECORD = (
    "hooks.wheelweights.records: expected at least one record, found none\n"
    "    [[tool.hatch.build.hooks.wheelweights.records]]\n"
    '    source = "weights/model.pt"\n'
    '    output = "src/my_package/model.mpk"\n'
    "  Add such a table to pyproject.toml."
)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        pytest.param({}, NO_RECORD, id="no records"),
        pytest.param({"records": []}, NO_RECORD, id="empty records"),
        pytest.param(
            {"records": RECORD},
            "hooks.wheelweights.records: expected an array of tables, found a table\n"
            "  Write [[tool.hatch.build.hooks.wheelweights.records]].",
            id="single brackets",
        ),
        pytest.param(
            {"records": "a.pt"},
            "hooks.wheelweights.records: expected an array of tables, found a string (`a.pt`)",
            id="records is a string",
        ),
        pytest.param(
            {**_table(), "precision": "half"},
            "hooks.wheelweights.precision: unknown option\n"
            "  Move it to [[tool.hatch.build.hooks.wheelweights.records]].",
            id="option of a record above it",
        ),
        pytest.param(
            _table(compression="stored"),
            f"{AT}.compression: unknown option\n  Move it to [tool.hatch.build.hooks.wheelweights].",
            id="option of the hook in a record",
        ),
        pytest.param(
            _table(frobnicate=1),
            f"{AT}.frobnicate: unknown option\n  Remove it, or use one of: {KNOWN}.",
            id="no near option",
        ),
        pytest.param(
            {"records": [{**RECORD, "top_level_key": "a"}]},
            f"{AT}.top_level_key: unknown option\n  Did you mean `top-level-key`?",
            id="underscores",
        ),
        pytest.param(
            {"records": [{**RECORD, "a b\n": "a"}]},
            f'{AT}."a b\\n": unknown option\n  Remove it, or use one of: {KNOWN}.',
            id="a key that needs quotes",
        ),
    ],
)
def test_rejects_a_table_of_another_shape(table, message):
    assert _faults(table) == message


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("source", 3, "source: expected a string, found an integer (3)"),
        ("source", "", "source: expected the path of a file, found an empty string"),
        ("source", " ", "source: expected the path of a file, found ` `"),
        ("source", ".", "source: expected the path of a file, found `.`"),
        ("source", "a\0b", "source: expected a path, found control characters in `a\\x00b`"),
        (
            "source",
            "/data/a.pt",
            (
                "source: expected a path relative to the project, found `/data/a.pt`\n"
                "  Link it into the project, say: ln -s /data/a.pt a.pt (links are followed)."
            ),
        ),
        (
            "source",
            "C:/a.pt",
            (
                "source: expected a path relative to the project, found `C:/a.pt`\n"
                "  Link it into the project, say: ln -s C:/a.pt a.pt (links are followed)."
            ),
        ),
        (
            "source",
            "~/a.pt",
            (
                "source: expected a path relative to the project, found `~/a.pt`\n"
                "  Link it into the project, say: ln -s '~/a.pt' a.pt (links are followed)."
            ),
        ),
        (
            "source",
            "\\\\server\\share\\a.pt",
            (
                "source: expected a path relative to the project, found `\\\\server\\share\\a.pt`\n"
                "  Link it into the project, say: ln -s '\\\\server\\share\\a.pt' a.pt (links are followed)."
            ),
        ),
        (
            "source",
            "weights\\digits.pt",
            "source: expected forward slashes, found `weights\\digits.pt`\n  Write weights/digits.pt.",
        ),
        (
            "source",
            "a/../b.pt",
            (
                "source: expected a path inside the project, found `..` in `a/../b.pt`\n"
                "  Link it into the project, say: ln -s a/../b.pt b.pt (links are followed)."
            ),
        ),
        ("source", "{stem}.pt", "source: expected no braces, found `{stem}.pt`\n  Write {stem} in `output` only."),
        ("output", "a.pt", "output: expected a path ending in `.mpk`, found `a.pt`\n  Write a.mpk."),
        ("output", "src/a", "output: expected a path ending in `.mpk`, found `src/a`\n  Write src/a.mpk."),
        ("output", "a.MPK", "output: expected a path ending in `.mpk`, found `a.MPK`\n  Write a.mpk."),
        ("output", ".mpk", "output: expected a path ending in `.mpk`, found `.mpk`\n  Write .mpk.mpk."),
        (
            "output",
            "/a.mpk",
            (
                "output: expected a path relative to the project, found `/a.mpk`\n"
                "  Link it into the project, say: ln -s /a.mpk a.mpk (links are followed)."
            ),
        ),
        ("output", "{name}.mpk", "output: expected no braces but `{stem}`, found `{name}`"),
        ("output", "{stem.mpk", "output: expected no braces but `{stem}`, found `{stem.mpk`"),
        ("output", "stem}.mpk", "output: expected no braces but `{stem}`, found `}`"),
        (
            "output",
            "src/*.mpk",
            (
                "output: expected a path that every system can hold, found `*` in `src/*.mpk`\n"
                "  Write {stem} for the name of each file that `source` matches."
            ),
        ),
        (
            "output",
            "a:b/c?.mpk",
            (
                "output: expected a path relative to the project, found `a:b/c?.mpk`\n"
                "  Link it into the project, say: ln -s 'a:b/c?.mpk' 'c?.mpk' (links are followed)."
            ),
        ),
        ("output", "a<b.mpk", "output: expected a path that every system can hold, found `<` in `a<b.mpk`"),
        ("top-level-key", 1, "top-level-key: expected a string or an array of strings, found an integer (1)"),
        ("top-level-key", "", "top-level-key: expected a key, found an empty string"),
        ("top-level-key", [], "top-level-key: expected a key, found an empty array"),
        ("top-level-key", ["a", 1], "top-level-key[1]: expected a string, found an integer (1)"),
        ("config-key", {}, "config-key: expected a string or an array of strings, found a table"),
        ("key-remap", "a", "key-remap: expected an array of tables, found a string (`a`)"),
        (
            "key-remap",
            {"pattern": "a", "replacement": "b"},
            (
                "key-remap: expected an array of tables, found a table\n"
                "  Put it in brackets: key-remap = [{ pattern = 'conv\\.(.*)', replacement = \"$1\" }]"
            ),
        ),
        (
            "key-remap",
            [["a", "b"]],
            (
                "key-remap[0]: expected a table of `pattern` and `replacement`, found an array\n"
                "  Write, say: key-remap = [{ pattern = 'conv\\.(.*)', replacement = \"$1\" }]"
            ),
        ),
        ("key-remap", [{"pattern": "a"}], "key-remap[0].replacement: expected a string, found nothing"),
        (
            "key-remap",
            [{"pattern": "a", "replacement": "b", "replacment": "c"}],
            "key-remap[0].replacment: unknown option\n  Did you mean `replacement`?",
        ),
        (
            "key-remap",
            [{"pattern": 1, "replacement": "b"}],
            "key-remap[0].pattern: expected a string, found an integer (1)",
        ),
        (
            "key-remap",
            [{"pattern": "(a)b", "replacement": "$1_x"}],
            "key-remap[0].replacement: unknown group `1_x` at position 0\n    $1_x\n    ^\n  Write ${1}_x",
        ),
        ("reindex", 1, "reindex: expected a boolean, found an integer (1)"),
        ("debug", "true", "debug: expected a boolean, found a string (`true`)\n  Leave out the quotes."),
        ("whole-model", [], "whole-model: expected a boolean, found an array"),
        (
            "precision",
            "hlaf",
            "precision: expected `keep`, `full`, `half`, `double` or `bfloat16`, found `hlaf`\n  Did you mean `half`?",
        ),
        (
            "precision",
            16.5,
            "precision: expected a string or an array of tables of `pattern` and `dtype`, found a float (16.5)",
        ),
        (
            "precision",
            {"pattern": "a", "dtype": "half"},
            (
                "precision: expected an array of tables, found a table\n"
                "  Put it in brackets: precision = [{ pattern = '^head\\.', dtype = \"keep\" }, "
                '{ pattern = "", dtype = "half" }]'
            ),
        ),
        (
            "precision",
            ["half"],
            (
                "precision[0]: expected a table of `pattern` and `dtype`, found a string (`half`)\n"
                "  Write, say: precision = [{ pattern = '^head\\.', dtype = \"keep\" }, "
                '{ pattern = "", dtype = "half" }]'
            ),
        ),
        ("precision", [{"pattern": "a"}], "precision[0].dtype: expected a string, found nothing"),
        (
            "precision",
            [{"pattern": "a", "dtype": "half", "dtpye": "int8"}],
            "precision[0].dtpye: unknown option\n  Did you mean `dtype`?",
        ),
        (
            "precision",
            [{"pattern": "a", "dtype": "half"}, {"pattern": "b", "dtype": "flaot16"}],
            "precision[1].dtype: expected a precision or a dtype, found `flaot16`\n  Did you mean `float16`?",
        ),
        (
            "precision",
            [{"pattern": "a", "dtype": "fp16"}],
            "precision[0].dtype: expected a precision or a dtype, found `fp16`\n  Write half.",
        ),
        (
            "precision",
            [{"pattern": "a", "dtype": "qqq"}],
            (
                "precision[0].dtype: expected a precision or a dtype, found `qqq`\n"
                "  Write one of: keep, full, half, double, bfloat16, bool, int8, int16, int32, int64, uint8, uint16, "
                "uint32, uint64, float16, float32, float64, complex64, complex128, float8_e4m3fn, float8_e4m3fnuz, "
                "float8_e5m2, float8_e5m2fnuz, float8_e8m0fnu."
            ),
        ),
        (
            "precision",
            [{"pattern": "(a", "dtype": "half"}],
            (
                "precision[0].pattern: missing ), unterminated subpattern at position 0\n    (a\n    ^\n"
                "  Close the group, or write \\( to match a literal parenthesis."
            ),
        ),
        (
            "include",
            "a.*",
            "include: expected an array of strings, found a string (`a.*`)\n  Put it in brackets: ['a.*']",
        ),
        (
            "exclude",
            ["a", "[b"],
            (
                "exclude[1]: unterminated character set at position 0\n    [b\n    ^\n"
                "  Close the class, or write \\[ to match a literal bracket."
            ),
        ),
        ("include", [1], "include[0]: expected a string, found an integer (1)"),
        ("metadata", "MIT", "metadata: expected a table of strings, found a string (`MIT`)"),
        ("metadata", {"year": 2026}, "metadata.year: expected a string, found an integer (2026)"),
        ("metadata", {"a b": True}, 'metadata."a b": expected a string, found a boolean (true)'),
        (
            "metadata",
            {"day": tomllib.loads("d = 2026-01-01")["d"]},
            "metadata.day: expected a string, found a value of type `date`",
        ),
    ],
)
def test_says_what_is_wrong_with_an_option(option, value, message):
    assert _faults({"records": [{**RECORD, option: value}]}) == f"{AT}.{message}"


def test_a_glob_needs_a_stem():
    assert _faults({"records": [{"source": "weights/*.pt", "output": "src/digits/model.mpk"}]}) == (
        f"{AT}.output: expected `{{stem}}` in it because `source` is a glob, found `src/digits/model.mpk`\n"
        "  Write src/digits/{stem}.mpk."
    )


@pytest.mark.parametrize(
    ("second", "ends"),
    [
        ("src/digits/digits.mpk", "`src/digits/digits.mpk`"),
        (
            "src/Digits/digits.mpk",
            "`src/digits/digits.mpk` and `src/Digits/digits.mpk`, which are one file on some systems",
        ),
        ("src/digits/{stem}.mpk", "`src/digits/digits.mpk`"),
        ("src//digits/./digits.mpk", "`src/digits/digits.mpk`"),
    ],
    ids=["equal", "case", "stem", "not plain"],
)
def test_rejects_two_records_with_one_output(second, ends):
    table = {"records": [RECORD, {"source": "other/digits.pt", "output": second}]}
    assert _faults(table) == (
        f"hooks.wheelweights.records[1].output: `weights/digits.pt` and `other/digits.pt` both end at {ends}\n"
        "  Give every record an output of its own."
    )


def test_rejects_names_that_differ_only_in_their_unicode_form():
    table = {"records": [RECORD | {"output": "caf\u00e9.mpk"}, RECORD | {"output": "cafe\u0301.mpk"}]}
    assert "which are one file on some systems" in _faults(table)


def test_rejects_an_output_that_is_a_source():
    table = {"records": [RECORD, {"source": "src/digits/DIGITS.mpk", "output": "b.mpk"}]}
    assert _faults(table) == (
        f"{AT}.output: expected a path of its own, found that of hooks.wheelweights.records[1].source:"
        " `src/digits/digits.mpk`"
    )


@pytest.mark.parametrize(
    ("golden", "message"),
    [
        ("weights/golden.npy", "expected a path ending in `.npz`, found `weights/golden.npy`"),
        ("{name}.npz", "expected no braces but `{stem}`, found `{name}`"),
        (
            "../golden.npz",
            (
                "expected a path inside the project, found `..` in `../golden.npz`\n"
                "  Link it into the project, say: ln -s ../golden.npz golden.npz (links are followed)."
            ),
        ),
        (3, "expected a string, found an integer (3)"),
    ],
)
def test_rejects_a_golden_path_that_can_be_none(golden, message):
    assert _faults({"records": [RECORD | {"golden": golden}]}) == f"{AT}.golden: {message}"


def test_rejects_one_golden_file_for_several_checkpoints():
    record = {"source": "weights/*.pt", "output": "{stem}.mpk", "golden": "golden.npz"}
    assert _faults({"records": [record]}) == (
        f"{AT}.golden: expected `{{stem}}` in it because `source` is a glob, found `golden.npz`\n"
        "  Make a file for each checkpoint: no two give the same outputs."
    )


def test_rejects_an_output_where_a_golden_record_goes():
    records = [RECORD | {"golden": "golden.npz"}, {"source": "b.pt", "output": "src/digits/Digits.golden.mpk"}]
    assert _faults({"records": records}) == (
        "hooks.wheelweights.records[1].output: expected a path of its own, found that of the golden record of "
        "hooks.wheelweights.records[0]\n  Give every record an output of its own."
    )


words = """records compression source output top-level-key key-remap reindex precision include exclude config-key
golden metadata whole-model debug pattern replacement other"""
keys = st.sampled_from(words.split())
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys | st.text(max_size=3), inner, max_size=4),
    max_leaves=12,
)


@given(table=st.dictionaries(keys, values), record=st.dictionaries(keys, values))
def test_no_table_raises_anything_else(table, record):
    for candidate in (table, {"records": [{**RECORD, **record}]}):
        assert all(text.startswith("hooks.wheelweights.") for text in _all_faults(candidate))


def _all_faults(table: dict[str, Any]) -> tuple[str, ...]:
    try:
        load(table)
    except ConfigError as error:
        return error.errors
    return ()
