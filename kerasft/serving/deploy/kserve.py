"""KServe: an InferenceService for each model."""

from __future__ import annotations

from typing import Any

from kerasft.serving.deploy.settings import Deployment


def kserve(deployment: Deployment) -> dict[str, dict[str, Any]]:
    """Returns the manifests by file name; the models are expected on the volume claim "models"."""
    return {f"{name}.yaml": _inference_service(name, deployment) for name in deployment.names}


def _inference_service(name: str, deployment: Deployment) -> dict[str, Any]:
    limits = {"cpu": str(deployment.cpus), "memory": f"{deployment.memory_mb}Mi"}
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": name},
        "spec": {
            "predictor": {
                "minReplicas": deployment.replicas,
                "maxReplicas": 4 * deployment.replicas,
                "tensorflow": {
                    "runtimeVersion": deployment.image.rpartition(":")[2],
                    "storageUri": f"pvc://models/{name}",
                    "resources": {"requests": limits, "limits": limits},
                },
            }
        },
    }
