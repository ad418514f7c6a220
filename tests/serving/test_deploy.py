"""`kerasft deploy`: each file is what the program that reads it expects, and says what was asked for."""

from __future__ import annotations

import contextlib
import json
import stat
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import check_jsonschema
import jsonschema
import kubernetes_validate
import pytest
import tensorflow as tf
import yaml
from google.protobuf import text_format

from kerasft.errors import ConfigError, ExportError
from kerasft.export import export_savedmodel
from kerasft.serving import protos
from kerasft.serving.deploy import KINDS, Deployment, Tls, render, write

REPOSITORY = Path(__file__).parents[2]
TLS = Tls(
    key="-----BEGIN PRIVATE KEY-----\nYour key.\n-----END PRIVATE KEY-----\n",
    certificate="-----BEGIN CERTIFICATE-----\nYour certificate.\n-----END CERTIFICATE-----\n",
    client_ca="-----BEGIN CERTIFICATE-----\nThe authority of your clients.\n-----END CERTIFICATE-----\n",
)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder `saved_models` with the models reviews, faces and labels; the last answers no rows."""
    folder = tmp_path_factory.mktemp("work") / "saved_models"

    def export(name: str, answer: Any) -> None:
        function = tf.function(answer).get_concrete_function(x=tf.TensorSpec([None], tf.float32))
        example = ("serving_default", {"x": [1.0]})
        export_savedmodel(
            tf.Module(), {"serving_default": function}, folder / name, examples=[example], verify=False
        )

    export("reviews", lambda x: {"y": 2 * x})
    export("faces", lambda x: {"y": 3 * x})
    export("labels", lambda x: {"y": x, "labels": tf.constant(["a", "b"])})
    return folder


def rendered(models: Path, kind: str, **settings: Any) -> dict[str, str]:
    deployment = Deployment(**{"models": [models / "reviews", models / "faces"], **settings})
    return render(deployment, kind, folder=models.parent / "serving" / kind)


def manifests(files: dict[str, str]) -> dict[str, Any]:
    return {name: yaml.safe_load(content) for name, content in files.items() if name.endswith(".yaml")}


@pytest.mark.parametrize(
    ("kind", "settings"), [("compose", {}), ("kubernetes", {"batch_rows": 32, "tls": TLS}), ("kserve", {})]
)
def test_the_examples_are_what_it_writes(models: Path, kind: str, settings: dict[str, Any]) -> None:
    folder = REPOSITORY / "serving" / kind
    committed = {
        str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()
    }
    assert committed == rendered(models, kind, **settings)


def test_text_protos_are_read_by_their_own_messages(models: Path) -> None:
    files = rendered(models, "compose", batch_rows=12, cpus=3, tls=TLS)
    config = text_format.Parse(files["config/models.config"], protos.ModelServerConfig())
    found = {model.name: model.base_path for model in config.model_config_list.config}
    assert found == {"reviews": "/models/reviews", "faces": "/models/faces"}
    batching = text_format.Parse(files["config/batching.pbtxt"], protos.BatchingParameters())
    assert list(batching.allowed_batch_sizes) == [1, 2, 4, 8, 12]
    assert (batching.max_batch_size.value, batching.num_batch_threads.value) == (12, 3)
    assert batching.HasField("batch_timeout_micros")
    assert batching.batch_timeout_micros.value == 0
    monitoring = text_format.Parse(files["config/monitoring.pbtxt"], protos.MonitoringConfig())
    assert monitoring.prometheus_config.enable
    ssl = text_format.Parse(files["config/ssl.pbtxt"], protos.SSLConfig())
    assert (ssl.server_key, ssl.server_cert, ssl.custom_ca) == (TLS.key, TLS.certificate, TLS.client_ca)
    assert ssl.client_verify


def test_every_flag_is_one_of_the_server(models: Path) -> None:
    known = (REPOSITORY / "tests/serving/server_flags.txt").read_text().split()
    deployment = Deployment(models=[models / "faces"], batch_rows=8, tls=TLS)
    given = [argument.removeprefix("--").partition("=")[0] for argument in deployment.arguments]
    assert set(given) <= set(known)
    assert len(set(given)) == len(given)
    assert {"enable_batching", "batching_parameters_file", "ssl_config_file"} <= set(given)


def test_compose_fits_its_schema(models: Path) -> None:
    package = Path(check_jsonschema.__file__).parent
    schema = json.loads((package / "builtin_schemas/vendor/compose-spec.json").read_text())
    content = manifests(rendered(models, "compose"))["docker-compose.yaml"]
    jsonschema.validate(content, schema)
    server = content["services"]["tensorflow-serving"]
    mounts = {mount["target"]: mount for mount in server["volumes"]}
    assert mounts["/models/faces"]["source"] == "../../saved_models/faces"
    assert all(mount["read_only"] for mount in mounts.values())
    assert server["image"] == "tensorflow/serving:2.20.0"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"services": {"a": {"imagee": "x"}}}, schema)


def test_kubernetes_manifests_fit_their_schemas(models: Path) -> None:
    found = manifests(rendered(models, "kubernetes", tls=TLS, batch_rows=4))
    objects = {name: content for name, content in found.items() if "kind" in content}
    assert len(objects) == 7
    for content in objects.values():
        kubernetes_validate.validate(content, kubernetes_validate.latest_version(), strict=True)
    deployment, service = objects["deployment.yaml"]["spec"], objects["service.yaml"]["spec"]
    assert service["clusterIP"] == "None"
    assert service["selector"] == deployment["selector"]["matchLabels"]
    assert service["selector"] == objects["pdb.yaml"]["spec"]["selector"]["matchLabels"]
    assert (
        objects["hpa.yaml"]["spec"]["scaleTargetRef"]["name"]
        == objects["deployment.yaml"]["metadata"]["name"]
    )
    container = deployment["template"]["spec"]["containers"][0]
    assert "ready.sh" in container["readinessProbe"]["exec"]["command"][1]
    assert "ssl.pbtxt" not in objects["configmap.yaml"]["data"]
    assert "ssl.pbtxt" in objects["secret.yaml"]["stringData"]
    broken = {**objects["deployment.yaml"], "spec": {**deployment, "replica": 2}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, kubernetes_validate.latest_version(), strict=True)


def test_kserve_has_a_service_for_each_model(models: Path) -> None:
    found = manifests(rendered(models, "kserve", replicas=3))
    for name in ("reviews", "faces"):
        predictor = found[f"{name}.yaml"]["spec"]["predictor"]
        assert found[f"{name}.yaml"]["apiVersion"] == "serving.kserve.io/v1beta1"
        assert predictor["minReplicas"] == 3
        assert predictor["tensorflow"]["storageUri"] == f"pvc://models/{name}"
        assert predictor["tensorflow"]["runtimeVersion"] == "2.20.0"
    with pytest.raises(ConfigError, match=r"KServe brings TLS and batching of its own"):
        rendered(models, "kserve", batch_rows=4)


def test_envoy_prometheus_and_grafana_name_one_another(models: Path) -> None:
    files = rendered(models, "compose", name="shop")
    found = manifests(files)
    resources = found["envoy.yaml"]["static_resources"]
    (cluster,), (listener,) = resources["clusters"], resources["listeners"]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    assert manager["route_config"]["virtual_hosts"][0]["routes"][0]["route"]["cluster"] == cluster["name"]
    assert cluster["load_assignment"]["cluster_name"] == cluster["name"] == "shop"
    address = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"]
    assert address["socket_address"] == {"address": "shop", "port_value": 8500}
    scrape = found["prometheus.yaml"]["scrape_configs"][0]
    assert scrape["dns_sd_configs"][0]["names"] == ["shop"]
    assert scrape["metrics_path"] == "/monitoring/prometheus/metrics"
    (source,) = found["grafana/datasources/prometheus.yaml"]["datasources"]
    assert source["url"].partition("//")[2].partition(":")[0] in found["docker-compose.yaml"]["services"]
    (provider,) = found["grafana/dashboards/serving.yaml"]["providers"]
    mounts = {
        m["target"]: m["source"] for m in found["docker-compose.yaml"]["services"]["grafana"]["volumes"]
    }
    assert mounts["/etc/grafana/provisioning"] == "./grafana"
    assert mounts[f"{provider['options']['path']}/serving.json"] == "./grafana-dashboard.json"
    alerts = found["prometheus-rules.yaml"]["groups"][0]["rules"]
    assert len({alert["alert"] for alert in alerts}) == len(alerts) == 4
    expressions = [alert["expr"] for alert in alerts]
    dashboard = json.loads(files["grafana-dashboard.json"])
    expressions += [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    for expression in expressions:
        assert expression.count("(") == expression.count(")")
        assert expression.startswith("up{") or ":tensorflow:" in expression


STATES: dict[str, str] = {}


class Status(BaseHTTPRequestHandler):
    """Answers the status route as TensorFlow Serving does: 200 while a version loads, too."""

    def do_GET(self) -> None:
        state = {
            "version": "1",
            "state": STATES[self.path.rpartition("/")[2]],
            "status": {"error_code": "OK"},
        }
        body = json.dumps({"model_version_status": [state]}, indent=1).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Stays quiet."""


@contextlib.contextmanager
def status_server() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Status)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_ready_means_that_every_model_is_available(models: Path, tmp_path: Path) -> None:
    script = tmp_path / "ready.sh"
    script.write_text(rendered(models, "compose")["config/ready.sh"])
    with status_server() as port:
        for states, ready in (
            (("AVAILABLE", "AVAILABLE"), True),
            (("AVAILABLE", "LOADING"), False),
            (("UNLOADING", "AVAILABLE"), False),
        ):
            STATES.update(zip(("reviews", "faces"), states, strict=True))
            ended = subprocess.run(["bash", script, str(port)], capture_output=True, check=False)
            assert (ended.returncode == 0) == ready, (states, ended.stderr)
    assert subprocess.run(["bash", script, str(port)], capture_output=True, check=False).returncode != 0


def test_the_private_key_is_readable_by_its_owner_alone_and_nothing_is_overwritten(
    models: Path, tmp_path: Path
) -> None:
    files = rendered(models, "compose", tls=TLS)
    paths = write(files, tmp_path / "out")
    assert {str(path.relative_to(tmp_path / "out")) for path in paths} == set(files)
    assert stat.S_IMODE((tmp_path / "out/config/ssl.pbtxt").stat().st_mode) == 0o600
    write(files, tmp_path / "out")
    (tmp_path / "out/envoy.yaml").write_text("mine")
    with pytest.raises(ConfigError, match=r"envoy\.yaml is there and differs; choose another --out, or pass"):
        write(files, tmp_path / "out")
    write(files, tmp_path / "out", force=True)
    assert (tmp_path / "out/envoy.yaml").read_text() == files["envoy.yaml"]


def test_what_cannot_be_deployed_is_one_sentence(models: Path, tmp_path: Path) -> None:
    reviews = models / "reviews"
    (tmp_path / "reviews").symlink_to(reviews)
    for settings, message in (
        ({"models": []}, r"name at least one folder"),
        ({"models": [reviews / "1"]}, r"is a version; name the folder of all versions"),
        ({"models": [reviews, tmp_path / "reviews"]}, r"two folders have one name"),
        ({"models": [reviews], "name": "My Server"}, r"name 'My Server' is no name for a server"),
        ({"models": [reviews], "cpus": 0}, r"cpus must be at least 1, not 0"),
        (
            {"models": [models / "labels"], "batch_rows": 8},
            r"cannot batch 'labels', whose output 'labels' of",
        ),
    ):
        with pytest.raises(ConfigError, match=message):
            Deployment(**settings)
    with pytest.raises(ExportError, match=r"no exported model at"):
        Deployment(models=[tmp_path / "nothing"])
    with pytest.raises(ConfigError, match=r"'swarm' is none of compose, kubernetes, kserve"):
        rendered(models, "swarm")
    assert set(KINDS) == {path.name for path in (REPOSITORY / "serving").iterdir() if path.is_dir()}
