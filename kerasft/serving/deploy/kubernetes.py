"""Kubernetes: servers behind a headless Service, scaled by load, with models on a read-only volume."""

from __future__ import annotations

from typing import Any

from kerasft.serving.deploy.settings import CONFIG, GRPC_PORT, MODELS, REST_PORT, Deployment
from kerasft.serving.deploy.textprotos import METRICS_PATH

_MOST_REPLICAS = 4
_SECRET_FILE = "ssl.pbtxt"


def kubernetes(deployment: Deployment, files: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Returns the manifests by file name.

    Args:
        deployment: What to serve; the models are expected on the volume claim "models".
        files: Name to content of the server's configuration files.
    """
    public = {name: content for name, content in files.items() if name != _SECRET_FILE}
    manifests = {
        "configmap.yaml": {
            **_header("v1", "ConfigMap", f"{deployment.name}-config", deployment),
            "data": public,
        },
        "deployment.yaml": _deployment(deployment),
        "service.yaml": _service(deployment, headless=True),
        "service-rest.yaml": _service(deployment, headless=False),
        "hpa.yaml": _scaler(deployment),
        "pdb.yaml": {
            **_header("policy/v1", "PodDisruptionBudget", deployment.name, deployment),
            "spec": {"maxUnavailable": 1, "selector": {"matchLabels": _labels(deployment)}},
        },
    }
    if _SECRET_FILE in files:
        manifests["secret.yaml"] = {
            **_header("v1", "Secret", f"{deployment.name}-tls", deployment),
            "stringData": {_SECRET_FILE: files[_SECRET_FILE]},
        }
    return manifests


def _labels(deployment: Deployment) -> dict[str, str]:
    return {"app.kubernetes.io/name": deployment.name}


def _header(version: str, kind: str, name: str, deployment: Deployment) -> dict[str, Any]:
    return {
        "apiVersion": version,
        "kind": kind,
        "metadata": {"name": name, "labels": _labels(deployment)},
    }


def _deployment(deployment: Deployment) -> dict[str, Any]:
    memory = f"{deployment.memory_mb}Mi"
    # Its body says whether a version is AVAILABLE; the status alone is 200 while one still loads.
    ready = {"exec": {"command": ["bash", f"{CONFIG}/ready.sh"]}, "timeoutSeconds": 5}
    container = {
        "name": "server",
        "image": deployment.image,
        "command": ["/usr/bin/tensorflow_model_server"],
        "args": deployment.arguments,
        "ports": [
            {"name": "grpc", "containerPort": GRPC_PORT},
            {"name": "rest", "containerPort": REST_PORT},
        ],
        "resources": {
            "requests": {"cpu": str(deployment.cpus), "memory": memory},
            "limits": {"memory": memory},
        },
        "startupProbe": {**ready, "periodSeconds": 5, "failureThreshold": 60},
        "readinessProbe": {**ready, "periodSeconds": 10},
        "livenessProbe": {"tcpSocket": {"port": "grpc"}, "periodSeconds": 20},
        # Endpoints need a moment to forget a server that ends.
        "lifecycle": {"preStop": {"exec": {"command": ["sleep", "10"]}}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "models", "mountPath": MODELS, "readOnly": True},
            {"name": "config", "mountPath": CONFIG, "readOnly": True},
            {"name": "scratch", "mountPath": "/tmp"},
        ],
    }
    sources: list[dict[str, Any]] = [{"configMap": {"name": f"{deployment.name}-config"}}]
    if deployment.tls is not None:
        sources.append({"secret": {"name": f"{deployment.name}-tls"}})
    pod = {
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65534,
            "runAsGroup": 65534,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 60,
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": _labels(deployment)},
            }
        ],
        "containers": [container],
        "volumes": [
            {"name": "models", "persistentVolumeClaim": {"claimName": "models", "readOnly": True}},
            {"name": "config", "projected": {"sources": sources}},
            {"name": "scratch", "emptyDir": {}},
        ],
    }
    annotations = {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": str(REST_PORT),
        "prometheus.io/path": METRICS_PATH,
    }
    return {
        **_header("apps/v1", "Deployment", deployment.name, deployment),
        "spec": {
            "replicas": deployment.replicas,
            "selector": {"matchLabels": _labels(deployment)},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "template": {
                "metadata": {"labels": _labels(deployment), "annotations": annotations},
                "spec": pod,
            },
        },
    }


def _service(deployment: Deployment, *, headless: bool) -> dict[str, Any]:
    """Headless for gRPC, whose clients balance over the addresses of all servers; one address for REST."""
    port = ("grpc", GRPC_PORT) if headless else ("rest", REST_PORT)
    spec = {
        **({"clusterIP": "None"} if headless else {}),
        "selector": _labels(deployment),
        "ports": [{"name": port[0], "port": port[1], "targetPort": port[0]}],
    }
    name = deployment.name if headless else f"{deployment.name}-rest"
    return {**_header("v1", "Service", name, deployment), "spec": spec}


def _scaler(deployment: Deployment) -> dict[str, Any]:
    load = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}
    return {
        **_header("autoscaling/v2", "HorizontalPodAutoscaler", deployment.name, deployment),
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": deployment.name},
            "minReplicas": deployment.replicas,
            "maxReplicas": _MOST_REPLICAS * deployment.replicas,
            "metrics": [{"type": "Resource", "resource": load}],
        },
    }
