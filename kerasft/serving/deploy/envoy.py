"""Envoy in front of several servers: a gRPC connection stays with one unless something balances calls."""

from __future__ import annotations

from typing import Any

from kerasft.serving.deploy.settings import GRPC_PORT as SERVER_PORT
from kerasft.serving.deploy.settings import Deployment

GRPC_PORT = 8600
_MAX_STREAMS = 1024


def envoy(deployment: Deployment, *, host: str) -> dict[str, Any]:
    """Returns envoy.yaml: each call to the server with the fewest calls under way.

    Args:
        deployment: Its name becomes that of the cluster.
        host: DNS name with an address for each server.
    """
    route = {
        "match": {"prefix": "/"},
        # The client's deadline counts; no retry here, since the client retries what may be retried.
        "route": {
            "cluster": deployment.name,
            "timeout": "0s",
            "max_stream_duration": {"grpc_timeout_header_max": "0s"},
        },
    }
    manager = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3"
        ".HttpConnectionManager",
        "stat_prefix": "grpc",
        "codec_type": "HTTP2",
        "route_config": {
            "virtual_hosts": [{"name": deployment.name, "domains": ["*"], "routes": [route]}],
        },
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
                },
            }
        ],
    }
    cluster = {
        "name": deployment.name,
        "type": "STRICT_DNS",
        "dns_refresh_rate": "5s",
        "lb_policy": "LEAST_REQUEST",
        "connect_timeout": "2s",
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http2_protocol_options": {"max_concurrent_streams": _MAX_STREAMS}},
            }
        },
        "health_checks": [
            {
                "timeout": "2s",
                "interval": "5s",
                "unhealthy_threshold": 2,
                "healthy_threshold": 1,
                "grpc_health_check": {},
            }
        ],
        "load_assignment": {
            "cluster_name": deployment.name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(host, SERVER_PORT)}}]}],
        },
    }
    listener = {
        "name": "grpc",
        "address": _address("0.0.0.0", GRPC_PORT),
        "filter_chains": [
            {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
        ],
    }
    return {"static_resources": {"listeners": [listener], "clusters": [cluster]}}


def _address(host: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": host, "port_value": port}}
