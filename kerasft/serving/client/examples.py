"""Features by name to tf.Example messages, for Classify, Regress and MultiInference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kerasft.serving import protos
from kerasft.serving.client.values import to_array
from kerasft.serving.errors import InvalidArgumentError
from kerasft.serving.tensors import STRING

_LISTS = {"O": "bytes_list", "f": "float_list", "i": "int64_list", "u": "int64_list", "b": "int64_list"}


def to_input(examples: Sequence[Any], context: Any = None) -> Any:
    """Encodes examples as an Input message.

    Args:
        examples: Mappings of feature name to a value or several (str, bytes, pictures, numbers, arrays, which
            are flattened), or tf.train.Example messages.
        context: Features that all examples share.

    Raises:
        InvalidArgumentError: If there are no examples, or a feature cannot be sent.

    Example:
        >>> to_input([{"x": 1.5}]).example_list.examples[0].features.feature["x"].float_list.value
        [1.5]
    """
    if isinstance(examples, Mapping | str | bytes) or not len(examples):
        raise InvalidArgumentError("examples must be a list of at least one, such as [{'x': 1.0}]")
    message = protos.Input()
    kind = message.example_list if context is None else message.example_list_with_context
    if context is not None:
        message.example_list_with_context.context.CopyFrom(_example(context, "the context"))
    kind.examples.extend(_example(example, f"example {i}") for i, example in enumerate(examples))
    return message


def _example(value: Any, where: str) -> Any:
    if hasattr(value, "SerializeToString"):
        return protos.Example.FromString(value.SerializeToString())
    if not isinstance(value, Mapping):
        raise InvalidArgumentError(
            f"{where} is a {type(value).__name__}: give a mapping of feature to value, or a tf.train.Example"
        )
    example = protos.Example()
    for name, feature in value.items():
        try:
            array = to_array(feature, STRING).reshape(-1)  # pictures as files, numbers as they are
            field = _LISTS.get(array.dtype.kind)
            if field is None:
                raise ValueError(f"a feature cannot hold {array.dtype}")
            getattr(example.features.feature[name], field).value.extend(array.tolist())
        except (TypeError, ValueError, OverflowError) as error:
            raise InvalidArgumentError(f"feature {name!r} of {where} cannot be sent: {error}") from error
    return example


def features(example: Any) -> dict[str, list[Any]]:
    """Returns the features of an Example: name to values."""
    return {
        name: list(getattr(feature, feature.WhichOneof("kind") or "bytes_list").value)
        for name, feature in sorted(example.features.feature.items())
    }
