"""Tasks by name: what is registered in this process, and what installed plugins offer.

Plugins register with an entry point in group `kerasft.tasks`; a plugin is imported when its name is
asked for, never earlier.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from kerasft import _discovery
from kerasft._suggest import suggestion
from kerasft.errors import KerasftError, RegistryError

if TYPE_CHECKING:
    from kerasft.task import Task

T = TypeVar("T", bound="type[Task]")


@dataclass(frozen=True, kw_only=True)
class TaskInfo:
    """One line of `kerasft list`.

    Attributes:
        name: What `create` and the command line call it.
        summary: One sentence about it, when known.
        distribution: The installed package that offers it; empty when a script registered it.
        version: That package's version.
        where: `module:line` once loaded, the entry point's target before.
        status: "available" (not imported yet), "loaded" or "broken".
        error: Why it is broken; empty otherwise.
    """

    name: str
    summary: str
    distribution: str
    version: str
    where: str
    status: str
    error: str


@dataclass(frozen=True, kw_only=True)
class _Registration:
    cls: type[Task]
    where: str


_registered: dict[str, _Registration] = {}
_failed: dict[str, str] = {}


def register(name: str) -> Callable[[T], T]:
    """Registers a task class under a name.

    Args:
        name: Lower-case letters, digits, `-` and `_`.

    Returns:
        A decorator that sets `name` on the class and returns it.

    Raises:
        RegistryError: The name is taken by another class (both places are named), or is no good name.

    Example:
        >>> import kerasft
        >>> @kerasft.register("shouting")
        ... class Shouting(kerasft.Task):
        ...     pass
        >>> kerasft.get("shouting").name
        'shouting'
    """
    frame = sys._getframe(1)
    line = frame.f_lineno
    if not isinstance(name, str) or not name.replace("-", "_").isidentifier() or name != name.lower():
        raise RegistryError(
            f"{name!r} is no task name: use lower-case letters, digits, - and _, letter first"
        )

    def decorate(cls: T) -> T:
        _add(name, cls, where=f"{getattr(cls, '__module__', '?')}:{line}")
        return cls

    return decorate


def get(name: str) -> type[Task]:
    """Returns the task class of a name, importing its plugin if need be.

    Raises:
        RegistryError: The name is unknown (says what is installed), its plugin cannot be imported (quotes
            the error), or several packages offer it.
    """
    found = _registered.get(name)
    if found is not None:
        return found.cls
    offered = _discovery.offers()
    if name not in offered:
        raise RegistryError(_unknown(name, {*_registered, *offered}))
    offer = _only(name, offered[name])
    try:
        loaded = _load(offer)
        if name not in _registered:
            _add(name, loaded, where=offer.value)
    except (Exception, SystemExit) as error:  # a plugin may fail in any way; all of them are reported alike
        remedy = offer.remedy if isinstance(error, ModuleNotFoundError) else ""
        _failed[name] = f"{type(error).__name__}: {error}{remedy}"
        raise RegistryError(
            f'task "{name}" of {offer.distribution} {offer.version} cannot be imported from '
            f"{offer.value}: {_failed[name]}"
        ) from error
    _failed.pop(name, None)
    return _registered[name].cls


def create(name: str, **config: Any) -> Task:
    """Makes a task from its name and config values; nothing is allocated yet.

    Args:
        name: A name from `list_tasks`.
        **config: Fields of the task's config; nested ones as dictionaries.

    Raises:
        RegistryError: No such task.
        ConfigError: A key or value is wrong.
    """
    return get(name)(**config)


def list_tasks(*, load: bool = False) -> list[TaskInfo]:
    """Lists the registered and installed tasks, by name.

    Args:
        load: Import every plugin, to see whether it really loads; otherwise none is imported and only what
            shows from outside (a missing module or package, a syntax error) is reported.
    """
    offered = _discovery.offers()
    if load:
        for name in offered:
            try:
                get(name)
            except KerasftError as error:
                _failed.setdefault(name, str(error))
    found = []
    for name in sorted({*_registered, *offered}):
        candidates = offered.get(name, [])
        offer = candidates[0] if candidates else None
        registration = _registered.get(name)
        problem, where, summary = "", offer.value if offer else "", ""
        if registration is not None:
            where, summary = registration.where, _first_line(registration.cls)
        elif len(candidates) > 1:
            problem = _claimed_twice(name, candidates)
        elif offer is not None:
            seen = _discovery.glimpse(offer)
            problem, summary = _failed.get(name) or seen.error or "", seen.summary
        status = "loaded" if registration else "broken" if problem else "available"
        found.append(
            TaskInfo(
                name=name,
                summary=summary,
                distribution=offer.distribution if offer else "",
                version=offer.version if offer else "",
                where=where,
                status=status,
                error=problem,
            )
        )
    return found


def where(name: str) -> str:
    """Returns `module:line` of a registered task's class."""
    get(name)
    return _registered[name].where


def _load(offer: _discovery.Offer) -> object:
    before = dict(_registered)
    try:
        return offer.load()
    except BaseException:
        # A module that registered tasks and then failed is not there: what it registered is half made.
        _registered.clear()
        _registered.update(before)
        raise


def _add(name: str, cls: Any, *, where: str) -> None:
    base = getattr(sys.modules.get("kerasft.task"), "Task", None)
    if not isinstance(cls, type) or base is None or not issubclass(cls, base):
        raise RegistryError(f'"{name}" at {where} is not a subclass of kerasft.Task: {cls!r}')
    other = _registered.get(name)
    if other is not None and not _same(cls, other.cls):
        raise RegistryError(f'task "{name}" is registered twice: at {other.where} and at {where}; rename one')
    for known, registration in _registered.items():
        if known != name and registration.cls is cls:
            raise RegistryError(
                f'{cls.__name__} is registered twice: as "{known}" at {registration.where} and as "{name}" '
                f"at {where}; a class has one name"
            )
    for offer in _discovery.offers().get(name, []):
        if offer.module.partition(".")[0] != cls.__module__.partition(".")[0]:
            raise RegistryError(
                f'task "{name}" is registered twice: at {offer.value} by the installed package '
                f"{offer.distribution} and at {where}; rename one"
            )
    task_class: type[Task] = cls
    task_class.name = name
    _registered[name] = _Registration(cls=task_class, where=where)


def _same(one: type, other: type) -> bool:
    """A reloaded module or a notebook cell run again defines the same class anew."""
    return (one.__module__, one.__qualname__) == (other.__module__, other.__qualname__)


def _only(name: str, candidates: list[_discovery.Offer]) -> _discovery.Offer:
    if len(candidates) > 1:
        raise RegistryError(_claimed_twice(name, candidates))
    return candidates[0]


def _claimed_twice(name: str, candidates: list[_discovery.Offer]) -> str:
    places = " and ".join(f"{c.value} of {c.distribution} {c.version}" for c in candidates)
    return f'task "{name}" is registered twice: at {places}; uninstall one'


def _unknown(name: str, names: set[str]) -> str:
    if not names:
        return f'there is no task "{name}": no task is installed; install a plugin, such as kerasft[text]'
    hint = suggestion(name, names, noun="tasks")
    installed = "" if hint.startswith("valid") else f" (installed: {', '.join(sorted(names))})"
    return f'there is no task "{name}": {hint}{installed}'.replace("valid tasks:", "installed tasks:")


def _first_line(cls: type) -> str:
    doc = (cls.__dict__.get("__doc__") or "").strip()
    return doc.splitlines()[0] if doc else ""
