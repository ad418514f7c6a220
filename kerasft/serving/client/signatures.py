"""Signatures as a server describes them, and the check of inputs against them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kerasft.serving import tensors
from kerasft.serving.client.asks import Array, Spec
from kerasft.serving.client.values import to_array
from kerasft.serving.errors import InvalidArgumentError

METHODS = {
    "tensorflow/serving/predict": "predict",
    "tensorflow/serving/classify": "classify",
    "tensorflow/serving/regress": "regress",
}
"""What the `method_name` of a signature says, and the call that it is for."""


@dataclass(frozen=True)
class Tensor:
    """A tensor of a signature.

    Args:
        dtype: DataType number.
        shape: Sizes, None for any; None instead of the tuple for any rank.
    """

    dtype: int
    shape: tuple[int | None, ...] | None

    @classmethod
    def read(cls, info: Any) -> Tensor:
        """Reads a TensorInfo."""
        if info.tensor_shape.unknown_rank:
            return cls(info.dtype, None)
        sizes = (dim.size for dim in info.tensor_shape.dim)
        return cls(info.dtype, tuple(None if size < 0 else size for size in sizes))

    def __str__(self) -> str:
        name = tensors.dtype_name(self.dtype)
        if self.shape is None:
            return f"{name}[...]"
        return f"{name}[{','.join('?' if size is None else str(size) for size in self.shape)}]"

    def takes(self, shape: tuple[int, ...]) -> bool:
        """Tells whether an array of this shape fits."""
        if self.shape is None:
            return True
        sizes = zip(shape, self.shape, strict=False)
        return len(shape) == len(self.shape) and all(want in (None, size) for size, want in sizes)


@dataclass(frozen=True)
class Signature:
    """One signature of a model.

    Args:
        name: Its name.
        method: `"predict"`, `"classify"` or `"regress"`; or what else the model says.
        inputs: Name to tensor.
        outputs: Name to tensor.
        optional: Inputs that have a default.
    """

    name: str
    method: str
    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]
    optional: frozenset[str] = frozenset()

    @classmethod
    def read(cls, name: str, definition: Any) -> Signature:
        """Reads a SignatureDef."""
        return cls(
            name=name,
            method=METHODS.get(definition.method_name, definition.method_name),
            inputs={key: Tensor.read(info) for key, info in sorted(definition.inputs.items())},
            outputs={key: Tensor.read(info) for key, info in sorted(definition.outputs.items())},
            optional=frozenset(definition.defaults),
        )

    def fit(self, inputs: Mapping[str, Any], *, spec: Spec) -> dict[str, Array]:
        """Turns inputs into arrays of the types and shapes that the signature takes.

        Args:
            inputs: Name to value.
            spec: Whose signature it is, for errors.

        Raises:
            InvalidArgumentError: If names, types or shapes do not fit.
        """
        missing = sorted(self.inputs.keys() - self.optional - inputs.keys())
        extra = sorted(inputs.keys() - self.inputs.keys())
        if missing or extra:
            takes = ", ".join(f"{name} {tensor}" for name, tensor in self.inputs.items()) or "nothing"
            found = {"missing": missing, "unknown": extra}
            problems = [f"{word}: {', '.join(names)}" for word, names in found.items() if names]
            raise InvalidArgumentError(
                f"signature {self.name!r} of {spec} takes {takes}; {'; '.join(problems)}"
            )
        return {name: self._fitted(name, value, spec) for name, value in inputs.items()}

    def _fitted(self, name: str, value: Any, spec: Spec) -> Array:
        wanted = self.inputs[name]
        try:
            array = to_array(value, wanted.dtype)
        except (TypeError, ValueError, OverflowError) as error:
            raise InvalidArgumentError(
                f"input {name!r} cannot be sent as {wanted}, which signature {self.name!r} of {spec} takes: "
                f"{error}"
            ) from error
        given = Tensor(tensors.dtype_number(array.dtype), array.shape)
        if given.dtype == wanted.dtype and wanted.takes(array.shape):
            return array
        raise InvalidArgumentError(
            f"input {name!r} is {given}, but signature {self.name!r} of {spec} takes {wanted}"
            f"{_advice(given, wanted)}"
        )


def _advice(given: Tensor, wanted: Tensor) -> str:
    if given.dtype != wanted.dtype:
        convertible = tensors.STRING not in (given.dtype, wanted.dtype)
        return f": convert it to {tensors.dtype_name(wanted.dtype)}" if convertible else ""
    assert given.shape is not None
    assert wanted.shape is not None
    if len(given.shape) + 1 == len(wanted.shape):
        return ": put it in a list, one element a row"
    return ""
