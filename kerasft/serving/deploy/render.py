"""From a deployment to files."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from kerasft.errors import ConfigError
from kerasft.serving.deploy import textprotos
from kerasft.serving.deploy.compose import compose
from kerasft.serving.deploy.envoy import envoy
from kerasft.serving.deploy.kserve import kserve
from kerasft.serving.deploy.kubernetes import kubernetes
from kerasft.serving.deploy.observing import dashboard, grafana, rules, scraping
from kerasft.serving.deploy.settings import REST_PORT, Deployment

KINDS = ("compose", "kubernetes", "kserve")
_SECRETS = ("ssl.pbtxt", "secret.yaml")


def render(deployment: Deployment, kind: str, *, folder: Path) -> dict[str, str]:
    """Returns the files of a deployment: relative path to content.

    Args:
        deployment: What to serve.
        kind: One of `KINDS`.
        folder: Where the files will stand, for paths from there.

    Raises:
        ConfigError: There is no such kind, or it cannot do what is asked for.

    Example:
        >>> deployment = Deployment(models=[Path("saved_models/reviews")])        # doctest: +SKIP
        >>> sorted(render(deployment, "kserve", folder=Path("deploy")))          # doctest: +SKIP
        ['grafana-dashboard.json', 'prometheus-rules.yaml', 'reviews.yaml']
    """
    if kind not in KINDS:
        raise ConfigError(f"deploy: {kind!r} is none of {', '.join(KINDS)}")
    common = {
        "prometheus-rules.yaml": _yaml(rules()),
        "grafana-dashboard.json": json.dumps(dashboard(), indent=2) + "\n",
    }
    if kind == "kserve":
        if deployment.tls is not None or deployment.batch_rows is not None:
            raise ConfigError("deploy: KServe brings TLS and batching of its own; leave both out")
        return {**{name: _yaml(content) for name, content in kserve(deployment).items()}, **common}
    files = {**textprotos.all_files(deployment), "ready.sh": ready_script(deployment)}
    if kind == "compose":
        return {
            "docker-compose.yaml": _yaml(compose(deployment, folder=folder)),
            "prometheus.yaml": _yaml(scraping(deployment)),
            "envoy.yaml": _yaml(envoy(deployment, host=deployment.name)),
            **{f"grafana/{name}": _yaml(content) for name, content in grafana().items()},
            **{f"config/{name}": content for name, content in files.items()},
            **common,
        }
    return {
        **{name: _yaml(content) for name, content in kubernetes(deployment, files).items()},
        "envoy.yaml": _yaml(envoy(deployment, host=deployment.name)),
        **common,
    }


def ready_script(deployment: Deployment) -> str:
    """Returns ready.sh, which succeeds when each model has a version that answers; needs bash and grep."""
    return f"""#!/usr/bin/env bash
# The status route answers 200 while a version still loads, so its body is read.
set -eu
port=${{1:-{REST_PORT}}}
for model in {" ".join(deployment.names)}; do
  exec 3<>"/dev/tcp/127.0.0.1/$port"
  printf 'GET /v1/models/%s HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n' "$model" >&3
  grep -q '"state": "AVAILABLE"' <&3
  exec 3>&-
done
"""


def write(files: Mapping[str, str], folder: Path, *, force: bool = False) -> list[Path]:
    """Writes files, private keys readable by their owner alone.

    Args:
        files: From `render`.
        folder: Made if need be.
        force: Replace files that are there and differ.

    Returns:
        The paths.

    Raises:
        ConfigError: A file is there already and differs; nothing was written then.
    """
    paths = {folder / name: content for name, content in files.items()}
    for path, content in paths.items():
        if not force and path.is_file() and path.read_text(encoding="utf-8") != content:
            raise ConfigError(f"deploy: {path} is there and differs; choose another --out, or pass --force")
    for path, content in paths.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        beside.touch(mode=0o600 if path.name in _SECRETS else 0o644)
        beside.write_text(content, encoding="utf-8")
        os.replace(beside, path)
    return list(paths)


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as blocks, and no anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _represent_text)


def _yaml(content: Any) -> str:
    return str(yaml.dump(content, Dumper=_Dumper, sort_keys=False, width=120))
