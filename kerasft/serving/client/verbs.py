"""What each call asks, one step at a time, and knows nothing of sockets or of asyncio.

A call is a generator: it yields what is to be asked (see `asks`), is sent the answer, and returns its result.
Clients that block and clients that await drive the same generators.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from kerasft.serving import protos
from kerasft.serving.client import asks
from kerasft.serving.client.asks import Array, Classification, Spec, State
from kerasft.serving.client.examples import to_input
from kerasft.serving.client.signatures import Signature
from kerasft.serving.client.values import readable, to_array
from kerasft.serving.errors import (
    DeadlineExceededError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    UnavailableError,
    UnimplementedError,
)

T = TypeVar("T")
Steps: TypeAlias = Generator[Any, Any, T]

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0  # seconds between two looks at a model that is not ready


class Verbs:
    """The calls of a client.

    Args:
        model: Name of the model that is meant when a call names none.
        check: Whether to hold inputs against the signature before they are sent.
    """

    def __init__(self, *, model: str, check: bool) -> None:
        self._model = model
        self._check = check
        self._known: dict[Spec, dict[str, Signature]] = {}

    def spec(self, model: str | None, version: int | None = None, label: str | None = None) -> Spec:
        """Says which model a call means."""
        if version is not None and label is not None:
            raise InvalidArgumentError("a model is named by its version or by a label: give one of the two")
        whole = isinstance(version, int) and not isinstance(version, bool)
        if version is not None and not (whole and 0 <= version < 2**63):
            raise InvalidArgumentError(f"the version {version!r} cannot be sent: give an integer below 2**63")
        return Spec(self._model if model is None else model, version, label)

    def predict(
        self, spec: Spec, signature: str, inputs: Mapping[str, Any], output_filter: Sequence[str]
    ) -> Steps[dict[str, Array]]:
        """Runs a signature on tensors."""
        if isinstance(output_filter, str):
            raise InvalidArgumentError(f"output_filter must be a list of names, such as [{output_filter!r}]")
        known = None
        if self._check:
            known, arrays = yield from self._fitted(spec, signature, inputs, output_filter)
        else:
            arrays = _unchecked(inputs)
        outputs = known.outputs if known else None
        answer = yield from self._asked(asks.Predict(spec, signature, arrays, tuple(output_filter), outputs))
        return {name: readable(name, array) for name, array in sorted(answer.items())}

    def classify(
        self, spec: Spec, signature: str, examples: Sequence[Any], context: Any
    ) -> Steps[Classification]:
        """Runs a signature that answers Classify."""
        message = to_input(examples, context)
        yield from self._checked(spec, signature, "classify")
        answer: Classification = yield from self._asked(asks.Classify(spec, signature, message))
        return answer

    def regress(self, spec: Spec, signature: str, examples: Sequence[Any], context: Any) -> Steps[Array]:
        """Runs a signature that answers Regress."""
        message = to_input(examples, context)
        yield from self._checked(spec, signature, "regress")
        answer: Array = yield from self._asked(asks.Regress(spec, signature, message))
        return answer

    def multi_inference(
        self, spec: Spec, signatures: Sequence[str], examples: Sequence[Any], context: Any
    ) -> Steps[dict[str, Classification | Array]]:
        """Runs several signatures that answer Classify or Regress."""
        message = to_input(examples, context)
        if isinstance(signatures, str) or not signatures:
            raise InvalidArgumentError("signatures must be a list of at least one name, such as ['classify']")
        methods = {}
        for name in signatures:
            known = yield from self._signature(spec, name)
            if known.method not in ("classify", "regress"):
                raise FailedPreconditionError(
                    f"signature {name!r} of {spec} answers {known.method}, but multi_inference needs "
                    "one that answers classify or regress"
                )
            methods[name] = known.method
        answer: dict[str, Any] = yield from self._asked(asks.MultiInference(spec, methods, message))
        return answer

    def metadata(self, spec: Spec) -> Steps[dict[str, dict[str, dict[str, str]]]]:
        """Asks for the signatures."""
        known = yield from self._signatures(spec, fresh=True)
        return {
            name: {
                "inputs": {key: str(tensor) for key, tensor in signature.inputs.items()},
                "outputs": {key: str(tensor) for key, tensor in signature.outputs.items()},
            }
            for name, signature in known.items()
        }

    def signature(self, spec: Spec, name: str) -> Steps[Signature]:
        """Looks at one signature."""
        return (yield from self._signature(spec, name))

    def status(self, spec: Spec) -> Steps[dict[int, State]]:
        """Asks for the state of each version."""
        answer: dict[int, State] = yield asks.Status(spec)
        return dict(sorted(answer.items()))

    def wait_ready(self, spec: Spec) -> Steps[int]:
        """Asks for the state until a version is available; whoever drives it says when to give up."""
        pause, seen = _FIRST_PAUSE, "the server was not asked yet"
        while True:
            try:
                found: dict[int, State] = yield asks.Status(spec)
            except (UnavailableError, NotFoundError) as error:
                seen = error.details
            except DeadlineExceededError as error:
                raise DeadlineExceededError(f"{spec} was not ready in time: {seen}") from error
            else:
                available = [version for version, state in found.items() if state == "AVAILABLE"]
                if available:
                    return max(available)
                seen = ", ".join(_described(version, found[version]) for version in sorted(found))
                if found and all(state == "END" and state.error for state in found.values()):
                    raise FailedPreconditionError(f"{spec} will not become ready: {seen}")
            try:
                yield asks.Pause(pause)
            except DeadlineExceededError as error:
                raise DeadlineExceededError(f"{spec} was not ready in time: {seen}") from error
            pause = min(2 * pause, _LONGEST_PAUSE)

    def reload_config(self, config: Any) -> Steps[None]:
        """Replaces the server's configuration."""
        yield asks.Reload(_server_config(config))
        self._known.clear()

    # What the calls share

    def _asked(self, ask: Any) -> Steps[Any]:
        """Asks a model; if it finds fault with the request, what is known of its signatures may be old."""
        try:
            return (yield ask)
        except (InvalidArgumentError, FailedPreconditionError, NotFoundError):
            if ask.spec.version is None:
                self._known.pop(ask.spec, None)
            raise

    def _signatures(self, spec: Spec, *, fresh: bool = False) -> Steps[dict[str, Signature]]:
        if fresh or spec not in self._known:
            try:
                definitions = yield asks.Metadata(spec)
            except UnimplementedError as error:
                raise UnimplementedError(
                    f"{error}; if the server knows no metadata, make the client with check=False",
                    details=error.details,
                ) from error
            self._known[spec] = {
                name: Signature.read(name, definition)
                for name, definition in sorted(definitions.items())
                if not name.startswith("__")
            }
        return self._known[spec]

    def _signature(self, spec: Spec, name: str, *, fresh: bool = False) -> Steps[Signature]:
        known = yield from self._signatures(spec, fresh=fresh)
        if name not in known and not fresh and spec.version is None:
            known = yield from self._signatures(spec, fresh=True)
        if name not in known:
            raise FailedPreconditionError(
                f"{spec} has no signature {name!r}; it has {', '.join(known) or 'none'}"
            )
        return known[name]

    def _fitted(
        self, spec: Spec, name: str, inputs: Mapping[str, Any], output_filter: Sequence[str]
    ) -> Steps[tuple[Signature, dict[str, Array]]]:
        old = self._known.get(spec)
        signature = yield from self._signature(spec, name)
        try:
            _check_outputs(signature, output_filter, spec)
            return signature, signature.fit(inputs, spec=spec)
        except InvalidArgumentError:
            if old is None or spec.version is not None:
                raise
        # The server may have gone on to a version with another signature.
        signature = yield from self._signature(spec, name, fresh=True)
        _check_outputs(signature, output_filter, spec)
        return signature, signature.fit(inputs, spec=spec)

    def _checked(self, spec: Spec, name: str, method: str) -> Steps[None]:
        if not self._check:
            return
        known = yield from self._signature(spec, name)
        if known.method != method:
            others = [one.name for one in self._known[spec].values() if one.method == method]
            raise FailedPreconditionError(
                f"signature {name!r} of {spec} answers {known.method}, not {method}; "
                + (f"these do: {', '.join(others)}" if others else "no other does")
            )


def _described(version: int, state: State) -> str:
    return f"version {version} is {state}" + (f" ({state.error})" if state.error else "")


def _unchecked(inputs: Mapping[str, Any]) -> dict[str, Array]:
    arrays = {}
    for name, value in inputs.items():
        try:
            arrays[name] = to_array(value)
        except (TypeError, ValueError, OverflowError) as error:
            raise InvalidArgumentError(f"input {name!r} cannot be sent: {error}") from error
    return arrays


def _check_outputs(signature: Signature, output_filter: Sequence[str], spec: Spec) -> None:
    unknown = [name for name in output_filter if name not in signature.outputs]
    if unknown:
        raise InvalidArgumentError(
            f"signature {signature.name!r} of {spec} has no output {unknown[0]!r}; "
            f"it has {', '.join(signature.outputs)}"
        )


def _server_config(config: Any) -> Any:
    """Turns a mapping of name to folder, a file or a message into a ModelServerConfig."""
    message = protos.ModelServerConfig()
    if isinstance(config, Mapping):
        for name, folder in config.items():
            message.model_config_list.config.add(
                name=name, base_path=str(folder), model_platform="tensorflow"
            )
        return message
    if hasattr(config, "SerializeToString"):
        return protos.ModelServerConfig.FromString(config.SerializeToString())
    if not isinstance(config, str | PathLike):
        raise InvalidArgumentError(
            f"a configuration cannot be a {type(config).__name__}: give name to folder, a file, or a message"
        )
    from google.protobuf import text_format

    try:
        return text_format.Parse(Path(config).read_text(encoding="utf-8"), message)
    except text_format.ParseError as error:
        raise InvalidArgumentError(f"{config} is not a ModelServerConfig: {error}") from error
