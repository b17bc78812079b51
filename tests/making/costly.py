"""Inputs that cost more than their bytes, by name: what `hostile/measure_costs.py` measures at `n` and at `2 n`.

Issue rows come first in each part, then their siblings. An input costs too much where its time more than doubles with
its size, or its memory is out of proportion to the file; the laws stand in `hostile/measure_costs.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from making import costly_classes as classes
from making import costly_files as files
from making import costly_keys as keys
from making import costly_pickles as pickles
from making import costly_records as records
from making import costly_storages as storages
from making import costly_trees as trees

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["COSTLY", "HONEST", "Costly"]


@dataclass(frozen=True)
class Costly:
    """An input: what makes it from a number, that number, and with which options it is opened.

    `file` is the name that it is written under: its ending tells which commands read it.
    """

    make: Callable[[int], bytes | Mapping[str, bytes]]
    n: int
    options: Mapping[str, Any] = field(default_factory=dict)
    file: str = "model.pt"
    in_issue: bool = False


def _all(make: Mapping[str, Callable[[int], bytes]], n: int) -> dict[str, Costly]:
    return {name: Costly(function, n) for name, function in make.items()}


_CONFIG: Final = {"config_key": "config"}
_PICKLES: Final = {
    "faults_of_long_numbers": Costly(pickles.faults_of_long_numbers, 2_000, in_issue=True),
    "faults_of_many_long_numbers": Costly(pickles.faults_of_many_long_numbers, 100),
    "faults_that_reach_past": Costly(pickles.faults_that_reach_past, 2_000),
    "faults_of_dtypes": Costly(pickles.faults_of_dtypes, 20_000),
    "tensors_from_types": Costly(pickles.tensors_from_types, 2_000),
    "sparse_tensors": Costly(pickles.sparse_tensors, 4_000),
    "nested_tensors_from_types": Costly(pickles.nested_tensors_from_types, 4_000),
    "hooks_of_hooks": Costly(pickles.hooks_of_hooks, 4_000),
    "meta_tensors": Costly(pickles.meta_tensors, 500),
    "repeated_tensors": Costly(pickles.repeated_tensors, 40_000),
    "repeated_tensors_of_rank_64": Costly(pickles.repeated_tensors_of_rank_64, 40_000),
    "deflated_calls": Costly(pickles.deflated_calls, 6_000, in_issue=True),
    "deflated_pops": Costly(pickles.deflated_pops, 15_000),
    "deflated_lists": Costly(partial(pickles.deflated, b"]"), 30_000),
    "deflated_dicts": Costly(partial(pickles.deflated, b"}"), 30_000),
    "deflated_sets": Costly(partial(pickles.deflated, b"\x8f"), 30_000),
    "deflated_tuples": Costly(partial(pickles.deflated, b"N\x85"), 15_000),
    "deflated_marks": Costly(partial(pickles.deflated, b"(1N"), 10_000),
    **_all(pickles.ON_LISTS, 10_000),
    **_all(pickles.ON_PAIRS, 5_000),
    "defaultdict_of_one_list": Costly(pickles.default_dicts, 5_000),
    "return_types": Costly(pickles.return_types, 10_000),
    "container_from_types": Costly(pickles.container_from_types, 10_000),
    "attributes": Costly(pickles.attributes, 20_000, in_issue=True),
    "attributes_of_attributes": Costly(pickles.attributes_of_attributes, 20_000),
    "encoded_texts": Costly(pickles.encoded_texts, 20_000),
    "reconstructed_objects": Costly(pickles.reconstructed_objects, 5_000),
    "unknown_objects": Costly(pickles.unknown_objects, 20_000),
    "parameter_states": Costly(pickles.parameter_states, 5_000),
    "shared_states": Costly(pickles.shared_states, 20_000),
    "numpy_buffers": Costly(pickles.numpy_buffers, 20_000, in_issue=True),
    "numpy_states": Costly(pickles.numpy_states, 20_000),
    "numpy_object_arrays": Costly(pickles.numpy_object_arrays, 20_000),
    "numpy_scalars": Costly(pickles.numpy_scalars, 40_000),
    "numpy_texts": Costly(pickles.numpy_texts, 5_000),
    "numpy_dtypes": Costly(pickles.numpy_dtypes, 5_000),
    "numpy_dates": Costly(pickles.numpy_dates, 40_000),
    "numpy_shape_of_huge_sizes": Costly(pickles.numpy_shape_of_huge_sizes, 400_000),
    "numpy_shape_that_does_not_fit": Costly(pickles.numpy_shape_that_does_not_fit, 5_000),
    "tuple_keys_of_text": Costly(keys.tuple_keys_of_text, 5_000, in_issue=True),
    "tuple_keys_of_numbers": Costly(keys.tuple_keys_of_numbers, 5_000),
    "tuple_keys_of_tuples": Costly(keys.tuple_keys_of_tuples, 5_000),
    "tuple_keys_at_the_limit": Costly(keys.tuple_keys_at_the_limit, 20_000),
    "tuple_items": Costly(keys.tuple_items, 5_000),
    "tuples_in_frozen_sets": Costly(keys.tuples_in_frozen_sets, 5_000),
    "tuples_in_called_sets": Costly(keys.tuples_in_called_sets, 5_000),
    "long_names_as_keys": Costly(keys.long_names_as_keys, 50_000),
    "key_of_huge_number": Costly(keys.key_of_huge_number, 50_000),
    "probed_numbers": Costly(keys.probed_numbers, 1 << 16, in_issue=True),
    "probed_numbers_one_by_one": Costly(keys.probed_numbers_one_by_one, 1 << 16),
    "probed_floats": Costly(keys.probed_floats, 1 << 16),
    "probed_scalars": Costly(keys.probed_scalars, 1 << 15),
    "probed_memo": Costly(keys.probed_memo, 1 << 16),
    "probed_items": Costly(keys.probed_items, 1 << 16),
    "tuples_of_one_hash": Costly(keys.same_hashes, 20_000),
    "tuples_with_text_of_one_hash": Costly(keys.tuples_with_text_of_one_hash, 10_000),
    "complex_scalars_of_one_hash": Costly(keys.complex_scalars_of_one_hash, 800),
    "missing_storages": Costly(storages.missing_storages, 10_000),
    "storages_of_huge_size": Costly(storages.storages_of_huge_size, 5_000),
    "one_storage_again": Costly(storages.one_storage_again, 50_000),
    "legacy_views": Costly(storages.legacy_views, 10_000),
    "legacy_storages": Costly(storages.legacy_storages, 10_000),
    "overlapping_views": Costly(storages.overlapping_views, 100, {"precision": "keep"}),
    "expanded_views": Costly(storages.expanded_views, 100, {"precision": "keep"}),
    "expanded_integers": Costly(storages.expanded_integers, 20, {"precision": [("", "int8")]}),
    "dotted_names": Costly(pickles.dotted_names, 20_000),
    "texts_of_numbers": Costly(pickles.texts_of_numbers, 10_000),
    "texts_of_floats": Costly(pickles.texts_of_floats, 10_000),
    "long_texts_of_floats": Costly(pickles.long_texts_of_floats, 1_000_000),
    "escaped_texts": Costly(pickles.escaped_texts, 100_000),
    "long_gets": Costly(pickles.long_gets, 100_000),
    "empty_lists": Costly(partial(pickles.one_byte_values, b"]"), 300_000),
    "empty_dicts": Costly(partial(pickles.one_byte_values, b"}"), 300_000),
    "empty_sets": Costly(partial(pickles.one_byte_values, b"\x8f"), 300_000),
    "empty_tuples_in_tuples": Costly(partial(pickles.one_byte_values, b")\x85"), 150_000),
    "list_in_itself": Costly(pickles.list_in_itself, 100_000),
    "dict_again": Costly(pickles.dict_again, 50_000),
    "marks": Costly(pickles.marks, 200_000),
    "puts": Costly(pickles.puts, 100_000),
    "builds": Costly(pickles.builds, 100_000),
}
_TREES: Final = {
    "shared_under_long_names": Costly(trees.shared_under_long_names, 2_000, {"reindex": True}, in_issue=True),
    "shared_under_many_names": Costly(trees.shared_under_many_names, 100, {"reindex": True}),
    "shared_and_renamed": Costly(trees.shared_under_long_names, 2_000, {"key_remap": [("^0", "a")]}),
    "shared_and_kept": Costly(trees.shared_under_long_names, 2_000),
    "shared_tensors": Costly(trees.shared_tensors, 2_000),
    "shared_plain_values": Costly(trees.shared_plain_values, 1_000),
    "shared_long_numbers": Costly(trees.shared_long_numbers, 1_000),
    "shared_candidates": Costly(trees.shared_candidates, 2_000),
    "foreign_behind_plain_values": Costly(trees.foreign_behind_plain_values, 2_000),
    "cycles_under_a_long_name": Costly(trees.cycles_under_a_long_name, 20_000),
    "too_deep_under_a_long_name": Costly(trees.too_deep_under_a_long_name, 20_000),
    "long_bytes_at_the_root": Costly(trees.long_bytes_at_the_root, 10_000),
    "long_numbers_at_the_root": Costly(trees.long_numbers_at_the_root, 5_000),
    "one_long_key": Costly(trees.one_long_key, 5_000),
    "long_keys": Costly(trees.long_keys, 1_000),
    "keys_that_begin_alike": Costly(trees.keys_that_begin_alike, 500, {"key_remap": [("^0", "a")], "reindex": True}),
    "keys_below_keys": Costly(trees.keys_below_keys, 2_000, {"key_remap": [("^a", "b")]}),
    "control_characters": Costly(trees.control_characters, 500),
    "shared_modules": Costly(trees.shared_modules, 2_000, {"whole_model": True}),
    "modules_of_modules": Costly(trees.modules_of_modules, 1_000, {"whole_model": True}),
    "hidden_buffers": Costly(trees.hidden_buffers, 3_000, {"whole_model": True}),
    "config_of_shared_lists": Costly(trees.config_of_shared_lists, 800, _CONFIG),
    "config_of_shared_mappings": Costly(trees.config_of_shared_mappings, 1_000, _CONFIG),
    "config_of_shared_paths": Costly(trees.config_of_shared_paths, 2_000, _CONFIG),
    "config_of_shared_sets": Costly(trees.config_of_shared_sets, 400, _CONFIG),
    "config_of_shared_tensors": Costly(trees.config_of_shared_tensors, 40_000, _CONFIG),
    "config_of_shared_objects": Costly(trees.config_of_shared_objects, 800, _CONFIG),
    "config_of_interpolations": Costly(trees.config_of_interpolations, 2_000, _CONFIG),
    "config_of_long_texts": Costly(trees.config_of_long_texts, 6_000, _CONFIG),
    "config_under_a_long_key": Costly(trees.config_under_a_long_key, 20_000, _CONFIG),
    "config_of_nested_shares": Costly(trees.config_of_nested_shares, 10_000, _CONFIG),
    "config_with_a_near_key": Costly(trees.config_with_a_near_key, 10_000, _CONFIG),
    "torchscript_shared": Costly(trees.torchscript_shared, 200, in_issue=True),
    "torchscript_chain": Costly(trees.torchscript_chain, 1_000),
    "torchscript_attributes": Costly(trees.torchscript_attributes, 3_000),
    "torchscript_classes": Costly(trees.torchscript_classes, 20_000),
    "torchscript_deflated_classes": Costly(trees.torchscript_deflated_classes, 40_000),
    "torchscript_deflated_names": Costly(trees.torchscript_deflated_names, 8_000),
    "torchscript_files": Costly(trees.torchscript_files, 1_000),
}
_CLASSES: Final = {
    "scripted_constants": Costly(classes.scripted_constants, 20_000),
    "scripted_constants_of_no_value": Costly(classes.scripted_constants_of_no_value, 20_000),
    "scripted_deflated_constants": Costly(classes.scripted_deflated_constants, 20_000),
    "scripted_deep_constants": Costly(classes.scripted_deep_constants, 1_000_000),
    "scripted_deep_constant": Costly(classes.scripted_deep_constant, 1_000_000),
    "scripted_wide_constants": Costly(classes.scripted_wide_constants, 1_000_000),
    "scripted_classes_of_constants": Costly(classes.scripted_classes_of_constants, 2_000),
    "scripted_calls_in_calls": Costly(classes.scripted_calls_in_calls, 1_000_000),
    "scripted_calls_of_numbers": Costly(classes.scripted_calls_of_numbers, 1_000_000),
    "scripted_short_calls": Costly(classes.scripted_short_calls, 1_000_000),
    "settings_again": Costly(classes.settings_again, 5_000, {"whole_model": True}),
    "settings_too_long": Costly(classes.settings_too_long, 5_000, {"whole_model": True}),
    "long_class_names": Costly(classes.long_class_names, 5_000, {"whole_model": True}),
    "modules_without_tensors": Costly(classes.modules_without_tensors, 10_000, {"whole_model": True}),
    "exported_nodes": Costly(classes.exported_nodes, 10_000),
    "exported_deflated_nodes": Costly(classes.exported_deflated_nodes, 12_000),
    "exported_modules": Costly(classes.exported_modules, 10_000),
    "exported_short_modules": Costly(classes.exported_short_modules, 100_000),
    "exported_arguments": Costly(classes.exported_arguments, 300_000),
    "exported_deep": Costly(classes.exported_deep, 1_000_000),
    "exported_lists": Costly(classes.exported_lists, 40_000),
    "exported_digits": Costly(classes.exported_digits, 1_000_000),
    "exported_models": Costly(classes.exported_models, 500),
}
_FILES: Final = {
    "empty_members": Costly(files.empty_members, 5_000),
    "long_member_names": Costly(files.long_member_names, 20),
    "doubtful_members": Costly(files.doubtful_members, 5_000),
    "extra_fields": Costly(files.extra_fields, 50),
    "deflated_storage": Costly(files.deflated_storage, 100_000),
    "deflated_storages": Costly(files.deflated_storages, 100),
    "exported_weights": Costly(files.exported_weights, 2_000),
    "exported_long_keys": Costly(partial(files.exported_weights, key="{:x<4000}"), 200),
    "exported_broken": Costly(files.exported_broken, 2_000),
    "exported_huge": Costly(files.exported_huge, 50),
    "exported_deflated": Costly(files.exported_deflated, 5_000),
    "exported_deflated_lists": Costly(files.exported_deflated_lists, 20_000),
    "exported_programs": Costly(files.exported_programs, 500),
    "safetensors_keys": Costly(files.safetensors_keys, 5_000),
    "safetensors_long_keys": Costly(files.safetensors_long_keys, 500),
    "safetensors_lists": Costly(files.safetensors_lists, 300_000),
    "safetensors_dicts": Costly(files.safetensors_dicts, 100_000),
    "safetensors_numbers": Costly(files.safetensors_numbers, 5_000),
    "safetensors_long_number": Costly(files.safetensors_long_number, 1_000_000),
    "safetensors_deep": Costly(files.safetensors_deep, 100_000),
    "safetensors_metadata": Costly(files.safetensors_metadata, 50_000),
    "safetensors_shapes": Costly(files.safetensors_shapes, 500),
    "spelt_shard": Costly(files.spelt_shard, 400, in_issue=True),
    "many_shards": Costly(files.many_shards, 200),
    "costly_shards": Costly(files.costly_shards, 10),
    "index_of_keys": Costly(files.index_of_keys, 10_000),
    "index_of_lists": Costly(files.index_of_lists, 300_000),
    "tar_of_headers": Costly(files.tar_of_headers, 2_000),
    "tar_of_storages": Costly(files.tar_of_storages, 2_000),
    "tar_of_views": Costly(files.tar_of_views, 10_000),
}
_RECORDS: Final = {
    "record_of_lists": Costly(records.record_of_lists, 500_000, in_issue=True),
    "record_of_maps": Costly(records.record_of_maps, 500_000),
    "record_of_deep_lists": Costly(records.record_of_deep_lists, 20_000),
    "record_of_numbers": Costly(records.record_of_numbers, 100_000),
    "record_of_small_maps": Costly(records.record_of_small_maps, 200_000),
    "record_of_ties": Costly(records.record_of_ties, 1_000, in_issue=True),
    "record_of_short_ties": Costly(records.record_of_short_ties, 1_000),
    "record_of_empty_tensors": Costly(records.record_of_empty_tensors, 5_000),
    "record_of_shapes": Costly(records.record_of_shapes, 5_000),
    "burn_of_lists": Costly(records.burn_of_lists, 100_000),
    "burn_of_numbers": Costly(records.burn_of_numbers, 1_000_000),
    "burn_in_gzip": Costly(records.burn_in_gzip, 100_000),
    "burn_lists_in_gzip": Costly(records.burn_lists_in_gzip, 100_000),
}
_WHEELS: Final = {
    "wheel_of_records": Costly(records.wheel_of_records, 400, in_issue=True),
    "wheel_of_deflated_records": Costly(records.wheel_of_deflated_records, 300),
    "wheel_of_other_members": Costly(records.wheel_of_other_members, 5_000),
    "wheel_of_a_deep_member": Costly(records.wheel_of_a_deep_member, 16_000, in_issue=True),
    "wheel_of_deep_members": Costly(records.wheel_of_deep_members, 500),
    "wheel_of_a_double_slash": Costly(records.wheel_of_a_double_slash, 1, in_issue=True),
    "wheel_that_inflates": Costly(records.wheel_that_inflates, 50_000),
    "wheel_of_one_name": Costly(records.wheel_of_one_name, 500),
    "wheel_of_lists": Costly(records.wheel_of_lists, 8_000),
    "wheel_of_texts": Costly(records.wheel_of_texts, 1_000),
    "wheel_of_records_of_texts": Costly(records.wheel_of_records_of_texts, 100),
}


def _written(file: str, inputs: Mapping[str, Costly]) -> dict[str, Costly]:
    return {name: replace(each, file=file) for name, each in inputs.items()}


COSTLY: Final = (
    _PICKLES | _TREES | _CLASSES | _FILES | _written("model.mpk", _RECORDS) | _written("demo-1.0.whl", _WHEELS)
)

# Files as people have them, in few bytes a tensor: what a limit on cost has to let pass
HONEST: Final = {
    "honest_tensors": Costly(trees.honest_tensors, 25_000),
    "honest_numbers": Costly(trees.honest_numbers, 25_000),
    "honest_hashes": Costly(keys.hashed_numbers, 100_000),
}
