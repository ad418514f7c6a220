"""The clients against the embedded server: gRPC and REST, waiting and asynchronous."""

from __future__ import annotations

import asyncio
import inspect
import io
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from PIL import Image

from kerasft.errors import ExportError
from kerasft.serving import client as clients
from kerasft.serving.client import AsyncClient, Client, RestClient
from kerasft.serving.server import Server

X = np.array([[1, 2, 3]], np.float32)


class Awaited:
    """An AsyncClient that is driven from outside of its loop, so that the tests below can ask it too."""

    def __init__(self, address: str, **options: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self._client = self._loop.run_until_complete(self._made(address, options))

    async def _made(self, address: str, options: dict[str, Any]) -> AsyncClient:
        return AsyncClient(address, **options)

    async def _listed(self, answers: AsyncIterator[Any]) -> list[Any]:
        return [answer async for answer in answers]

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)
        if not callable(method):
            return method

        def call(*args: Any, **kwargs: Any) -> Any:
            asked = method(*args, **kwargs)
            return self._loop.run_until_complete(asked if inspect.isawaitable(asked) else self._listed(asked))

        return call

    def __enter__(self) -> Awaited:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
        self._loop.close()


@pytest.fixture(scope="module", params=["grpc", "asyncio", "rest"])
def client(request: Any, both: Server) -> Iterator[Any]:
    kinds: dict[str, Any] = {
        "grpc": lambda: Client(both.address, model="demo"),
        "asyncio": lambda: Awaited(both.address, model="demo"),
        "rest": lambda: RestClient(both.rest_address or "", model="demo"),
    }
    with kinds[request.param]() as made:
        yield made


@pytest.fixture
def over_grpc(client: Any) -> Any:
    if isinstance(client, RestClient):
        pytest.skip("not in TensorFlow Serving's REST API")
    return client


class TestPredict:
    def test_python_values_and_arrays_in_numpy_and_str_out(self, client: Any) -> None:
        for x in ([[1, 2, 3.5], [0, 0, 1]], np.array([[1, 2, 3.5], [0, 0, 1]], np.float32)):
            answer = client.predict(x=x, text=["a", "käse"])
            assert {name: array.dtype for name, array in answer.items()} == {
                "y": np.float32,
                "echo": object,
                "length": np.int32,
            }
            assert answer["y"].tolist() == [[6.5, 6.5], [1, 1]]
            assert answer["echo"].tolist() == ["a", "käse"]
            assert answer["length"].tolist() == [1, 5]

    def test_integers_become_the_floats_that_the_signature_takes(self, client: Any) -> None:
        assert client.predict(x=[[1, 2, 3]], text=[b"a"])["y"].tolist() == [[6, 6]]

    def test_strings_that_are_not_text_stay_bytes(self, client: Any) -> None:
        answer = client.predict(x=[[0, 0, 0], [0, 0, 0]], text=[b"\xff\x00", "a"])
        assert answer["echo"].tolist() == [b"\xff\x00", b"a"]

    def test_pictures_become_pixels(self, client: Any) -> None:
        pixels = np.arange(2 * 4 * 3, dtype=np.uint8).reshape(2, 4, 3)
        answer = client.predict(image=[Image.fromarray(pixels)] * 2, signature="mean")
        assert answer["image"].tolist() == np.float32([pixels, pixels]).tolist()

    def test_pictures_become_files_where_strings_are_taken(self, client: Any) -> None:
        picture = Image.new("RGB", (3, 2), (1, 2, 3))
        (sent,) = client.predict(x=X, text=[picture], output_filter=["echo"])["echo"]
        read = Image.open(io.BytesIO(sent))
        assert (read.format, read.tobytes()) == ("PNG", picture.tobytes())

    def test_version_and_label_choose(self, client: Any) -> None:
        assert client.predict(x=X, text=["a"], version=3)["length"].tolist() == [1]
        assert client.predict(x=X, text=["a"], label="stable")["length"].tolist() == [1]
        with pytest.raises(clients.NotFoundError):
            client.predict(x=X, text=["a"], version=9)
        with pytest.raises(clients.InvalidArgumentError, match="Unrecognized servable version label: old"):
            client.predict(x=X, text=["a"], label="old")
        with pytest.raises(clients.InvalidArgumentError, match="by its version or by a label"):
            client.predict(x=X, text=["a"], version=3, label="stable")

    def test_the_filter_chooses_outputs(self, client: Any) -> None:
        assert client.predict(x=X, text=["a"], output_filter=["y"]).keys() == {"y"}
        with pytest.raises(clients.InvalidArgumentError, match="has no output 'z'; it has echo, length, y"):
            client.predict(x=X, text=["a"], output_filter=["z"])
        with pytest.raises(clients.InvalidArgumentError, match="a list of names"):
            client.predict(x=X, text=["a"], output_filter="y")

    def test_large_messages_pass(self, client: Any) -> None:
        size = 300 if isinstance(client, RestClient) else 700
        image = np.random.default_rng(0).random((1, size, size, 3), np.float32)
        np.testing.assert_array_equal(client.predict(image=image, signature="mean")["image"], image)

    def test_an_unknown_model_is_not_found(self, client: Any) -> None:
        with pytest.raises(clients.NotFoundError, match="Servable not found for request"):
            client.predict(x=X, text=["a"], model="nothing")


CHECKS: list[tuple[dict[str, Any], str]] = [
    ({"x": X}, "takes text string[?], x float32[?,3]; missing: text"),
    ({"x": X, "txt": ["a"]}, "takes text string[?], x float32[?,3]; missing: text; unknown: txt"),
    (
        {"x": X.astype(np.float64), "text": ["a"]},
        "input 'x' is float64[1,3], but signature 'serving_default' of 'demo' takes float32[?,3]: "
        "convert it to float32",
    ),
    ({"x": np.arange(3), "text": ["a"]}, "input 'x' is int64[3], but"),
    ({"x": [1, 2, 3], "text": ["a"]}, "input 'x' is float32[3], but"),
    ({"x": [[1, 2]], "text": ["a"]}, "input 'x' is float32[1,2], but"),
    (
        {"x": X, "text": "a"},
        "input 'text' is string[], but signature 'serving_default' of 'demo' takes string[?]: "
        "put it in a list, one element a row",
    ),
    ({"x": ["a"], "text": ["a"]}, "input 'x' is string[1], but"),
    ({"x": X, "text": [1]}, "input 'text' is int64[1], but"),
    ({"x": X, "text": [None]}, "input 'text' cannot be sent as string[?], which signature"),
    ({"x": [[1, 2, 3], [1]], "text": ["a"]}, "input 'x' cannot be sent as float32[?,3], which signature"),
]


@pytest.mark.parametrize(("inputs", "message"), CHECKS, ids=[case[1][:60] for case in CHECKS])
def test_what_does_not_fit_is_told_before_it_is_sent(
    client: Any, inputs: dict[str, Any], message: str
) -> None:
    client.signature()  # what is known by now is what is held against
    with pytest.raises(clients.InvalidArgumentError) as caught:
        client.predict(inputs)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_signature_names_those_there_are(client: Any) -> None:
    with pytest.raises(
        clients.FailedPreconditionError, match=r"no signature 's'; it has mean, serving_default"
    ):
        client.predict(x=X, signature="s")


class TestExamples:
    def test_classify(self, client: Any) -> None:
        answer = client.classify([{"x": 0.5}, {"x": np.float32([2])}], model="judge", signature="judge")
        assert isinstance(answer, clients.Classification)
        assert answer.labels.tolist() == [["small", "large"]] * 2
        assert answer.scores.dtype == np.float32
        assert answer.scores.tolist() == [[-0.5, 0.5], [-2, 2]]

    def test_context_is_shared(self, client: Any) -> None:
        answer = client.regress([{}, {}], context={"x": 4.0}, model="judge", signature="double")
        assert (answer.dtype, answer.tolist()) == (np.float32, [8, 8])

    def test_regress(self, client: Any) -> None:
        assert client.regress([{"x": 1.5}], model="judge", signature="double").tolist() == [3]

    def test_official_examples_can_be_passed(self, client: Any) -> None:
        import tensorflow as tf

        feature = tf.train.Feature(float_list=tf.train.FloatList(value=[3.0]))
        example = tf.train.Example(features=tf.train.Features(feature={"x": feature}))
        assert client.regress([example], model="judge", signature="double").tolist() == [6]

    def test_multi_inference(self, over_grpc: Any) -> None:
        answer = over_grpc.multi_inference([{"x": 1.0}], signatures=["judge"], model="judge")
        assert answer["judge"].scores.tolist() == [[-1, 1]]
        answer = over_grpc.multi_inference([{"x": 1.0}], signatures=["double"], model="judge")
        assert answer["double"].tolist() == [2]
        with pytest.raises(clients.InvalidArgumentError, match="Input tensor must be the same"):
            over_grpc.multi_inference([{"x": 1.0}], signatures=["judge", "double"], model="judge")
        with pytest.raises(
            clients.FailedPreconditionError, match="answers predict, but multi_inference needs"
        ):
            over_grpc.multi_inference([{"x": 1.0}], signatures=["serving_default"], model="judge")

    def test_a_signature_of_another_method_is_told_at_once(self, client: Any) -> None:
        with pytest.raises(
            clients.FailedPreconditionError, match="answers predict, not classify; these do: judge, scores"
        ):
            client.classify([{"x": 1.0}], model="judge")

    @pytest.mark.parametrize(
        ("examples", "message"),
        [
            ([], "a list of at least one"),
            ({"x": 1.0}, "a list of at least one"),
            ([1.0], "example 0 is a float: give a mapping"),
            (
                [{"x": 1.0}, {"x": 1j}],
                "feature 'x' of example 1 cannot be sent: a feature cannot hold complex",
            ),
            ([{"x": [[1], [1, 2]]}], "feature 'x' of example 0 cannot be sent: the nested lists"),
        ],
    )
    def test_what_is_no_example_is_named(self, client: Any, examples: Any, message: str) -> None:
        with pytest.raises(clients.InvalidArgumentError, match=message):
            client.regress(examples, model="judge", signature="double")

    def test_rest_says_what_it_has_not(self, both: Server) -> None:
        with RestClient(both.rest_address or "", model="judge") as client:
            with pytest.raises(clients.UnimplementedError, match="ask over gRPC"):
                client.multi_inference([{"x": 1.0}], signatures=["double"])
            with pytest.raises(clients.UnimplementedError, match="ask over gRPC"):
                client.reload_config({"m": "/m"})


class TestModels:
    def test_metadata(self, client: Any) -> None:
        assert client.metadata() == {
            "mean": {
                "inputs": {"image": "float32[?,?,?,3]"},
                "outputs": {"image": "float32[?,?,?,3]", "mean": "float32[?]"},
            },
            "serving_default": {
                "inputs": {"text": "string[?]", "x": "float32[?,3]"},
                "outputs": {"echo": "string[?]", "length": "int32[?]", "y": "float32[?,2]"},
            },
        }

    def test_status(self, client: Any) -> None:
        assert client.status() == {3: "AVAILABLE", 20: "AVAILABLE"}
        assert client.status(version=3)[3].error == ""
        with pytest.raises(clients.NotFoundError, match="Could not find any versions of model m"):
            client.status(model="m")

    def test_ready(self, client: Any) -> None:
        assert client.wait_ready(5) == 20
        assert client.wait_ready(5, version=3) == 3
        with pytest.raises(
            clients.DeadlineExceededError, match=r"'m' was not ready in time: .*any versions of"
        ):
            client.wait_ready(0.2, model="m")


class TestMany:
    def test_answers_come_in_the_order_of_the_requests(self, client: Any) -> None:
        requests = ({"x": [[i, 0, 0]], "text": [str(i)]} for i in range(40))
        answers = list(client.predict_many(requests, concurrency=4, output_filter=["echo"]))
        assert [answer["echo"].tolist() for answer in answers] == [[str(i)] for i in range(40)]

    def test_a_failure_is_raised_or_returned(self, client: Any) -> None:
        requests: list[dict[str, Any]] = [{"x": X, "text": ["a"]}] * 3
        requests[1] = {"x": X}
        first, second, third = client.predict_many(requests, return_exceptions=True)
        assert isinstance(second, clients.InvalidArgumentError)
        assert first["length"] == third["length"] == 1
        with pytest.raises(clients.InvalidArgumentError, match="missing: text"):
            list(client.predict_many(requests))

    def test_a_bar_counts_on_standard_error(self, client: Any, capsys: pytest.CaptureFixture[str]) -> None:
        list(client.predict_many([{"x": X, "text": ["a"]}] * 3, progress=True))
        out, err = capsys.readouterr()
        assert "3/3" in err
        assert out == ""

    def test_no_concurrency_is_refused(self, client: Any) -> None:
        with pytest.raises(clients.InvalidArgumentError, match="concurrency is 0"):
            list(client.predict_many([], concurrency=0))

    def test_requests_are_read_as_they_are_needed(self, both: Server) -> None:
        read = 0

        def endless() -> Iterator[dict[str, Any]]:
            nonlocal read
            while True:
                read += 1
                yield {"x": X, "text": ["a"]}

        with Client(both.address, model="demo") as client:
            answers = client.predict_many(endless(), concurrency=2)
            next(answers)
            assert read <= 4
            answers.close()


@pytest.mark.parametrize(
    "name",
    [name for name, value in vars(AsyncClient).items() if inspect.isfunction(value) and name[0] != "_"],
)
def test_the_kinds_of_clients_have_the_same_calls(name: str) -> None:
    theirs = inspect.signature(getattr(AsyncClient, name)).parameters
    assert inspect.signature(getattr(Client, name)).parameters == theirs
    assert inspect.signature(getattr(RestClient, name)).parameters == theirs


def test_a_closed_client_says_so(both: Server) -> None:
    for client in (Client(both.address), Awaited(both.address), RestClient(both.rest_address or "")):
        client.close()
        with pytest.raises(clients.CancelledError, match="is closed: make a new one"):
            client.status(model="demo")


class TestTask:
    MANIFEST: ClassVar[dict] = {
        "format": 1,
        "task": "echoing",
        "files": {},
        "calls": {
            "repeat": {
                "signature": "serving_default",
                "inputs": {"text": "string[?]", "x": "float32[?,3]"},
                "outputs": {"echo": "string[?]"},
            },
            "mean": {
                "signature": "mean",
                "inputs": {"image": "float32[?,?,?,3]"},
                "outputs": {"mean": "float32[?]"},
            },
        },
    }

    @pytest.fixture
    def manifest(self, tmp_path: Path) -> Path:
        path = tmp_path / "manifest.json"
        path.write_text(json.dumps(self.MANIFEST))
        return path

    @pytest.mark.parametrize("kind", [Client, Awaited, RestClient])
    def test_calls_are_made_of_the_manifest(self, both: Server, manifest: Path, kind: Any) -> None:
        address = both.rest_address if kind is RestClient else both.address
        with kind(address, model="demo", manifest=manifest) as client:
            task = client._client.echoing if kind is Awaited else client.echoing
            answers = [
                task.repeat(x=X, text=["a"], version=3, output_filter=["echo"]),
                task.mean(np.ones((1, 2, 2, 3), np.float32)),
            ]
            if kind is Awaited:
                answers = [client._loop.run_until_complete(answer) for answer in answers]
            assert answers[0]["echo"].tolist() == ["a"]
            assert answers[1]["mean"].tolist() == [1]

    def test_calls_tell_what_they_take(self, manifest: Path) -> None:
        with Client("localhost:1", manifest=manifest) as client:
            assert client.task is client.echoing
            assert {"repeat", "mean"} <= set(dir(client.task))
            assert str(inspect.signature(client.task.mean)) == "(image: 'float32[?,?,?,3]', **options)"
            assert "mean: float32[?]" in client.task.mean.__doc__
            with pytest.raises(TypeError, match="missing a required argument: 'image'"):
                client.task.mean()
            with pytest.raises(
                AttributeError, match="the task 'echoing' has no call 'sum'; it has repeat, mean"
            ):
                _ = client.task.sum
            with pytest.raises(AttributeError, match="its manifest is of the task 'echoing'"):
                _ = client.text

    def test_without_a_manifest_there_are_none(self) -> None:
        with Client("localhost:1") as client:
            with pytest.raises(clients.InvalidArgumentError, match="make it with manifest="):
                _ = client.task
            with pytest.raises(AttributeError, match="made without manifest="):
                _ = client.text

    def test_manifests_that_say_nothing_are_refused(self, model: Path, tmp_path: Path) -> None:
        with pytest.raises(clients.InvalidArgumentError, match="says nothing of 'task'"):
            Client("localhost:1", manifest=model)
        with pytest.raises(ExportError, match="the folder does not exist"):
            Client("localhost:1", manifest=tmp_path / "nothing")
        with pytest.raises(ExportError, match=r"m\.json cannot be read"):
            Client("localhost:1", manifest=tmp_path / "m.json")
