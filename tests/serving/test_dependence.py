"""Outputs that stand once are told from outputs that depend on what is fed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tensorflow as tf

from kerasft.export import layout
from kerasft.serving.server.dependence import constant_tensors


def test_constants_are_found_through_calls_variables_and_control_flow(tmp_path: Path) -> None:
    module = tf.Module()
    module.names = tf.Variable(["a", "b"])

    @tf.function
    def pair(x: Any, y: Any) -> tuple[Any, Any]:
        return y * 2.0, x + 1.0

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    def call(x: Any) -> dict[str, Any]:
        fixed = tf.constant([3.0])
        from_fixed, from_x = pair(x, fixed)
        with tf.control_dependencies([tf.debugging.assert_all_finite(x, "finite")]):
            after = tf.identity(fixed)
        return {
            "names": tf.strings.upper(module.names),
            "number": tf.constant(3),
            "from_fixed": from_fixed,
            "from_x": from_x,
            "after": after,
            "echo": x,
            "size": tf.shape(x),
            "chosen": tf.cond(tf.reduce_sum(x) > 0.0, lambda: fixed, lambda: -fixed),
        }

    tf.saved_model.save(module, str(tmp_path), signatures={"serving_default": call})
    meta_graph = layout.read_meta_graph(tmp_path)
    outputs = layout.signatures(meta_graph)["serving_default"].outputs
    found = constant_tensors(meta_graph, [info.name for info in outputs.values()])
    assert {alias for alias, info in outputs.items() if info.name in found} == {
        *("names", "number", "from_fixed", "after")
    }
