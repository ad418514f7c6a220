"""`kerasft serve` with its flags."""

from __future__ import annotations

import http.client
import json
import re
import signal
import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme

from kerasft.serving.client import Client


def sentence(answer: Any) -> str:
    """The only line on standard error."""
    (line,) = answer.err.splitlines()
    return line


def ready(process: Any) -> tuple[str, str]:
    """Waits for the banner and returns the addresses of gRPC and REST."""
    banner = process.stdout.readline()
    match = re.search(r" at (\S+) \(gRPC\) and (\S+) \(REST\); stop with Ctrl-C$", banner)
    assert match, (banner, process.communicate()[1])
    return match[1], match[2]


def stop(process: Any) -> list[str]:
    """Stops a server and returns what it logged."""
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
    return errors.splitlines()


def test_a_configuration_file_serves_versions_by_label(spawn, exported: Path, tmp_path: Path) -> None:
    config = tmp_path / "models.config"
    config.write_text(
        f"""model_config_list {{ config {{
          name: "mood" base_path: "{exported}" model_platform: "tensorflow"
          model_version_policy {{ all {{}} }} version_labels {{ key: "stable" value: 1 }}
        }} }}"""
    )
    monitoring = tmp_path / "monitoring.config"
    monitoring.write_text("prometheus_config { enable: true path: '/metrics' }")
    process = spawn(
        *("serve", "--config", config, "--monitoring", monitoring, "--grpc-port", 0, "--rest-port", 0),
        *("--log-style", "json", "--log-level", "debug"),
    )
    grpc_address, rest_address = ready(process)
    with Client(grpc_address) as client:
        assert client.status(model="mood") == {1: "AVAILABLE"}
    rest = http.client.HTTPConnection(rest_address, timeout=60)
    rest.request("POST", "/v1/models/mood/labels/stable:predict", '{"instances": ["a great film"]}')
    answer = rest.getresponse()
    assert answer.status == 200
    assert json.loads(answer.read())["predictions"]
    rest.request("GET", "/metrics")
    page = rest.getresponse().read().decode()
    assert ':tensorflow:serving:request_count{model_name="mood",status="OK"} 1' in page
    rest.close()
    lines = [json.loads(line) for line in stop(process) if line.startswith("{")]  # C++ has its own.
    (loaded,) = [line for line in lines if line["message"] == "version 1 of model mood is available"]
    assert (loaded["model"], loaded["version"], loaded["path"]) == ("mood", 1, str(exported / "1"))
    (asked,) = [line for line in lines if line["message"] == "Predict by REST"]
    assert (asked["severity"], asked["status"]) == ("DEBUG", "OK")


def test_models_by_name_over_tls(spawn, exported: Path, tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    certificate.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    certificate.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    process = spawn(
        *("serve", "--model", f"one={exported}", "--model", f"two={exported / '1'}"),
        *("--tls-key", tmp_path / "key.pem", "--tls-cert", tmp_path / "cert.pem"),
        *("--grpc-port", 0, "--rest-port", 0, "--no-batching"),
    )
    _, rest_address = ready(process)
    context = ssl.create_default_context(cadata=authority.cert_pem.bytes().decode())
    port = int(rest_address.rpartition(":")[2])
    rest = http.client.HTTPSConnection("localhost", port, context=context, timeout=60)
    for name in ("one", "two"):
        rest.request("GET", f"/v1/models/{name}")
        (version,) = json.loads(rest.getresponse().read())["model_version_status"]
        assert (version["version"], version["state"]) == ("1", "AVAILABLE")
    rest.close()
    stop(process)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "say what to serve: a folder, --model NAME=FOLDER, or --config FILE"),
        (["folder", "--model", "a=b"], "say what to serve"),
        (["--model", "folder"], "--model folder is not NAME=FOLDER"),
        (["--model", "a=b", "--model", "a=c"], "--model a is given twice"),
        (["folder", "--tls-key", "key.pem"], "TLS needs both --tls-key and --tls-cert"),
        (["--config", "nothing"], "the ModelServerConfig in nothing cannot be read"),
        (["folder", "--batching", "nothing"], "the BatchingParameters in nothing cannot be read"),
    ],
)
def test_wrong_flags_are_one_sentence(cli, arguments: list[str], message: str) -> None:
    assert message in sentence(cli("serve", *arguments, code=2))
