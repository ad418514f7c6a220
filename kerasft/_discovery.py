"""Finds task plugins through their entry points without importing a single one of them."""

from __future__ import annotations

import ast
import importlib.machinery
import importlib.util
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata

GROUP = "kerasft.tasks"


@dataclass(frozen=True, kw_only=True)
class Offer:
    """One entry point of group `kerasft.tasks`: a name and where its class can be imported from."""

    name: str
    value: str
    distribution: str
    version: str
    extras: tuple[str, ...]

    @property
    def module(self) -> str:
        return self.value.partition(":")[0].strip()

    @property
    def attribute(self) -> str:
        return self.value.partition(":")[2].strip()

    @property
    def remedy(self) -> str:
        """What to install when something that the plugin needs is missing; empty when that is not known."""
        if self.name not in self.extras:
            return ""
        return f" (pip install '{self.distribution}[{self.name}]')"

    def load(self) -> object:
        return metadata.EntryPoint(name=self.name, value=self.value, group=GROUP).load()


def offers() -> dict[str, list[Offer]]:
    """All offers by name; a name has several when several distributions claim it."""
    found: dict[str, list[Offer]] = {}
    for point in metadata.entry_points(group=GROUP):
        dist = point.dist
        offer = Offer(
            name=point.name,
            value=point.value,
            distribution=dist.name if dist is not None else "?",
            version=dist.version if dist is not None else "?",
            extras=tuple(dist.metadata.get_all("Provides-Extra") or ()) if dist is not None else (),
        )
        known = found.setdefault(point.name, [])
        # An editable install next to a build folder shows one distribution twice.
        if not any(
            offer.value == other.value and offer.distribution == other.distribution for other in known
        ):
            known.append(offer)
    return found


@dataclass(frozen=True, kw_only=True)
class Glimpse:
    """What shows of a plugin's module from outside.

    Attributes:
        error: Why importing it would fail, as far as that shows; None when nothing wrong can be seen.
        summary: First line of the class's docstring; empty when it cannot be read.
    """

    error: str | None = None
    summary: str = ""


def glimpse(offer: Offer) -> Glimpse:
    """Reads an offer's source without importing it: does it parse, and is what it imports installed?"""
    try:
        spec = _find(offer.module)
    except (ImportError, ValueError, AttributeError) as reason:
        return Glimpse(error=f"{type(reason).__name__}: {reason}")
    if spec is None:
        return Glimpse(error=f"ModuleNotFoundError: No module named '{offer.module}'")
    if not spec.origin or not spec.origin.endswith(".py"):
        return Glimpse()
    try:
        with open(spec.origin, "rb") as stream:
            tree = ast.parse(stream.read(), filename=spec.origin)
    except SyntaxError as reason:
        return Glimpse(error=f"SyntaxError: {reason.msg} ({spec.origin}, line {reason.lineno})")
    except (OSError, ValueError) as reason:
        return Glimpse(error=f"{type(reason).__name__}: {reason}")
    summary = _summary(tree, offer.attribute)
    for package in _needs(tree):
        if package not in sys.modules and importlib.util.find_spec(package) is None:
            return Glimpse(
                error=f"ModuleNotFoundError: No module named '{package}'{offer.remedy}", summary=summary
            )
    return Glimpse(summary=summary)


def _summary(tree: ast.Module, attribute: str) -> str:
    for statement in tree.body:
        if isinstance(statement, ast.ClassDef) and statement.name == attribute:
            return (ast.get_docstring(statement) or "").partition("\n")[0]
    return ""


def _find(module: str) -> importlib.machinery.ModuleSpec | None:
    """`importlib.util.find_spec` imports the parents of a dotted name; this does not."""
    path: list[str] | None = None
    spec = None
    parts = module.split(".")
    for depth in range(1, len(parts) + 1):
        name = ".".join(parts[:depth])
        for finder in sys.meta_path:
            find = getattr(finder, "find_spec", None)
            spec = find(name, path, None) if find else None
            if spec is not None:
                break
        if spec is None:
            return None
        path = list(spec.submodule_search_locations or [])
    return spec


def _needs(tree: ast.Module) -> Iterator[str]:
    for statement in tree.body:
        if isinstance(statement, ast.Import):
            for alias in statement.names:
                yield alias.name.partition(".")[0]
        elif isinstance(statement, ast.ImportFrom) and statement.level == 0 and statement.module:
            yield statement.module.partition(".")[0]
