"""Docker Compose: the server, and on request Envoy in front of it and Prometheus with Grafana beside it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from kerasft.serving.deploy.envoy import GRPC_PORT as BALANCED_PORT
from kerasft.serving.deploy.settings import CONFIG, GRPC_PORT, MODELS, REST_PORT, Deployment

ENVOY = "envoyproxy/envoy:v1.31.0"
PROMETHEUS = "prom/prometheus:v2.53.0"
GRAFANA = "grafana/grafana:11.1.0"

_LOCKED = {
    "read_only": True,
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges:true"],
    "restart": "unless-stopped",
}


def compose(deployment: Deployment, *, folder: Path) -> dict[str, Any]:
    """Returns docker-compose.yaml as it stands in `folder`, from where it finds the models."""
    server = {
        "image": deployment.image,
        "entrypoint": ["/usr/bin/tensorflow_model_server"],
        "command": deployment.arguments,
        # On this machine only: whoever opens these ports to a network puts TLS in front.
        "ports": [f"127.0.0.1:{port}:{port}" for port in (GRPC_PORT, REST_PORT)],
        "volumes": [
            *(_mounted(os.path.relpath(path, folder), f"{MODELS}/{path.name}") for path in deployment.models),
            _mounted("./config", CONFIG),
        ],
        "tmpfs": ["/tmp"],
        # The private key is readable by whoever wrote it.
        "user": "65534:65534" if deployment.tls is None else f"{os.getuid()}:{os.getgid()}",
        "healthcheck": {
            "test": ["CMD", "bash", f"{CONFIG}/ready.sh"],
            "interval": "10s",
            "timeout": "5s",
            "start_period": "120s",
        },
        "deploy": {
            "resources": {"limits": {"cpus": str(deployment.cpus), "memory": f"{deployment.memory_mb}M"}}
        },
        "stop_grace_period": "30s",
        **_LOCKED,
    }
    envoy = {
        "image": ENVOY,
        "profiles": ["balanced"],
        "command": ["-c", "/etc/envoy.yaml"],
        "ports": [f"127.0.0.1:{BALANCED_PORT}:{BALANCED_PORT}"],
        "volumes": [_mounted("./envoy.yaml", "/etc/envoy.yaml")],
        "depends_on": [deployment.name],
        **_LOCKED,
    }
    prometheus = {
        "image": PROMETHEUS,
        "profiles": ["monitoring"],
        "volumes": [
            _mounted("./prometheus.yaml", "/etc/prometheus/prometheus.yml"),
            _mounted("./prometheus-rules.yaml", "/etc/prometheus/rules.yaml"),
            {"type": "volume", "source": "metrics", "target": "/prometheus"},
        ],
        **_LOCKED,
    }
    grafana = {
        "image": GRAFANA,
        "profiles": ["monitoring"],
        "ports": ["127.0.0.1:3000:3000"],
        "volumes": [
            _mounted("./grafana", "/etc/grafana/provisioning"),
            _mounted("./grafana-dashboard.json", "/var/lib/grafana/dashboards/serving.json"),
        ],
        "restart": "unless-stopped",
    }
    return {
        "services": {
            deployment.name: server,
            "envoy": envoy,
            "prometheus": prometheus,
            "grafana": grafana,
        },
        "volumes": {"metrics": {}},
    }


def _mounted(source: str, target: str) -> dict[str, Any]:
    return {"type": "bind", "source": source, "target": target, "read_only": True}
