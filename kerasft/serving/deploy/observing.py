"""Prometheus rules and a Grafana dashboard over the metrics of TensorFlow Serving."""

from __future__ import annotations

from typing import Any

from kerasft.serving.deploy.settings import REST_PORT, Deployment
from kerasft.serving.deploy.textprotos import METRICS_PATH

REQUESTS = ":tensorflow:serving:request_count"
LATENCY = ":tensorflow:serving:request_latency"
"""Histogram in microseconds."""
LOADS = ":tensorflow:cc:saved_model:load_attempt_count"

_RATE = f"sum by (model_name) (rate({REQUESTS}[5m]))"
_ERRORS = f'sum by (model_name) (rate({REQUESTS}{{status!="OK"}}[5m])) / {_RATE}'


def _latency(quantile: float) -> str:
    seconds = 1e6
    return (
        f"histogram_quantile({quantile}, sum by (model_name, le) (rate({LATENCY}_bucket[5m]))) / {seconds:g}"
    )


def rules() -> dict[str, Any]:
    """Returns prometheus-rules.yaml: what somebody should be told of."""
    alerts = [
        ("ServingDown", 'up{job="tensorflow-serving"} == 0', "2m", "A server does not answer."),
        ("ServingErrors", f"{_ERRORS} > 0.01", "5m", "More than 1 % of the requests of a model fail."),
        (
            "ServingSlow",
            f"{_latency(0.99)} > 1",
            "10m",
            "One request of a model in a hundred takes over 1 s.",
        ),
        (
            "ServingLoadFailed",
            f'increase({LOADS}{{status="fail"}}[15m]) > 0',
            "0m",
            "A version of a model failed to load; the one before still serves.",
        ),
    ]
    group = {
        "name": "tensorflow-serving",
        "rules": [
            {
                "alert": name,
                "expr": expression,
                "for": duration,
                "labels": {"severity": "page" if name == "ServingDown" else "ticket"},
                "annotations": {"summary": summary},
            }
            for name, expression, duration, summary in alerts
        ],
    }
    return {"groups": [group]}


def scraping(deployment: Deployment) -> dict[str, Any]:
    """Returns prometheus.yaml for the servers of one machine."""
    return {
        "global": {"scrape_interval": "15s"},
        "rule_files": ["/etc/prometheus/rules.yaml"],
        "scrape_configs": [
            {
                "job_name": "tensorflow-serving",
                "metrics_path": METRICS_PATH,
                "dns_sd_configs": [{"names": [deployment.name], "type": "A", "port": REST_PORT}],
            }
        ],
    }


def grafana() -> dict[str, dict[str, Any]]:
    """Returns what Grafana reads when it starts: where the metrics are, and where the dashboard is."""
    source = {"name": "Prometheus", "type": "prometheus", "url": "http://prometheus:9090", "isDefault": True}
    folder = {"name": "serving", "type": "file", "options": {"path": "/var/lib/grafana/dashboards"}}
    return {
        "datasources/prometheus.yaml": {"apiVersion": 1, "datasources": [source]},
        "dashboards/serving.yaml": {"apiVersion": 1, "providers": [folder]},
    }


def dashboard() -> dict[str, Any]:
    """Returns grafana-dashboard.json: rate, errors and latency of each model, and loads."""
    panels = [
        ("Requests", "reqps", [(_RATE, "{{model_name}}")]),
        ("Share of requests that fail", "percentunit", [(_ERRORS, "{{model_name}}")]),
        ("Latency", "s", [(_latency(q), f"{{{{model_name}}}} p{q * 100:g}") for q in (0.5, 0.99)]),
        (
            "Loads of versions",
            "short",
            [(f"sum by (model_path, status) (increase({LOADS}[15m]))", "{{model_path}} {{status}}")],
        ),
    ]
    return {
        "title": "TensorFlow Serving",
        "uid": "tensorflow-serving",
        "schemaVersion": 39,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": [{"name": "datasource", "type": "datasource", "query": "prometheus"}]},
        "panels": [
            {
                "id": number + 1,
                "type": "timeseries",
                "title": title,
                "datasource": {"type": "prometheus", "uid": "${datasource}"},
                "gridPos": {"x": 12 * (number % 2), "y": 8 * (number // 2), "w": 12, "h": 8},
                "fieldConfig": {"defaults": {"unit": unit}, "overrides": []},
                "targets": [
                    {"refId": chr(ord("A") + i), "expr": expression, "legendFormat": legend}
                    for i, (expression, legend) in enumerate(queries)
                ],
            }
            for number, (title, unit, queries) in enumerate(panels)
        ],
    }
