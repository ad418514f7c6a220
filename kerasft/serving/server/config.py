"""What to serve: TensorFlow Serving's own configuration messages, from text files and from flags."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from google.protobuf import text_format

from kerasft.export import layout
from kerasft.serving import protos
from kerasft.serving.errors import ServingError

PLATFORM = "tensorflow"


def read(path: str | PathLike[str], message: Any) -> Any:
    """Reads a text proto.

    Args:
        path: The file.
        message: The class of the message that it holds, such as `protos.ModelServerConfig`.

    Raises:
        ServingError: If the file cannot be read or does not hold such a message.
    """
    kind = message.DESCRIPTOR.name
    try:
        return text_format.Parse(Path(path).read_text(encoding="utf-8"), message())
    except (OSError, UnicodeDecodeError) as error:
        raise ServingError(f"the {kind} in {path} cannot be read: {error}") from error
    except text_format.ParseError as error:
        raise ServingError(f"{path} is not the text form of a {kind}: line {error}") from error


def from_folders(models: Mapping[str, str | PathLike[str]]) -> Any:
    """Makes a ModelServerConfig that serves the newest version of each folder.

    Args:
        models: A model's folder, of which the newest version is served, or a version folder, by the name that
            clients call the model.

    Raises:
        ServingError: If a name is empty.
    """
    config = protos.ModelServerConfig()
    for name, folder in models.items():
        if not name:
            raise ServingError(f"the model in {folder} has no name: give it as NAME=FOLDER")
        config.model_config_list.config.add(
            name=name, base_path=str(Path(folder).absolute()), model_platform=PLATFORM
        )
    return config


def check(config: Any, *, before: Any = None) -> None:
    """Checks a ModelServerConfig as TensorFlow Serving does.

    Args:
        config: The configuration.
        before: The configuration that it replaces, if any.

    Raises:
        ServingError: With the code and message of TensorFlow Serving, where it has one.
    """
    if config.WhichOneof("config") == "custom_model_config":
        raise _refused("FAILED_PRECONDITION", "Cannot transition to requested config. It is only legal to "
                       "transition from one ModelConfigList to another.")  # fmt: skip
    platforms = {old.name: platform(old) for old in before.model_config_list.config} if before else {}
    seen: set[str] = set()
    for model in config.model_config_list.config:
        if not model.name:
            raise _refused("INVALID_ARGUMENT", f"The model in '{model.base_path}' has no name")
        if model.name in seen:
            raise _refused(
                "INVALID_ARGUMENT", f"Illegal to list model {model.name} multiple times in config list"
            )
        seen.add(model.name)
        kind = platform(model)
        if model.name in platforms and platforms[model.name] != kind:
            raise _refused("INVALID_ARGUMENT", "Illegal to change a model's platform. For model "
                           f"{model.name} platform was {platforms[model.name]} and new platform requested "
                           f"is {kind}")  # fmt: skip
        if kind != PLATFORM:
            raise _refused("INVALID_ARGUMENT", f"Model {model.name} requests unsupported platform {kind}")
        if not Path(model.base_path).is_absolute():
            raise _refused(
                "INVALID_ARGUMENT",
                f"Expected model {model.name} to have an absolute path or URI; "
                f"got base_path()={model.base_path}",
            )
        policy = model.model_version_policy
        if policy.WhichOneof("policy_choice") == "specific" and not policy.specific.versions:
            raise _refused(
                "INVALID_ARGUMENT", f"The specific version policy of model {model.name} names no version"
            )


def platform(model: Any) -> str:
    """Returns a ModelConfig's platform.

    Raises:
        ServingError: If it names none, or both the old and the new field are set.
    """
    if model.model_type:
        if model.model_platform:
            raise _refused(
                "INVALID_ARGUMENT", "Illegal setting both model_type(deprecated) and model_platform."
            )
        return PLATFORM if model.model_type == 1 else "other"
    if not model.model_platform:
        raise _refused(
            "INVALID_ARGUMENT", "Illegal setting neither model_type(deprecated) nor model_platform."
        )
    return str(model.model_platform)


def find_versions(base: Path) -> dict[int, Path]:
    """Returns the version folders below a base path by number, oldest first.

    A base path that is itself a version folder is the only version: its number, or 1 if its name is none. A
    link that leads out of the base path is no version.
    """
    if (base / layout.GRAPH).is_file():
        return {int(base.name) if layout.is_version(base.name) else 1: base}
    home = base.resolve()
    return {
        number: path for number, path in layout.versions(base).items() if path.resolve().is_relative_to(home)
    }


def wanted_versions(policy: Any, found: Mapping[int, Path]) -> dict[int, Path]:
    """Applies a ServableVersionPolicy: the newest version unless it asks for more, for all or for some.

    Example:
        >>> model = protos.ModelServerConfig().model_config_list.config.add()
        >>> folders = {1: Path("m/1"), 2: Path("m/2"), 10: Path("m/10")}
        >>> list(wanted_versions(model.model_version_policy, folders))
        [10]
        >>> model.model_version_policy.latest.num_versions = 2
        >>> list(wanted_versions(model.model_version_policy, folders))
        [2, 10]
    """
    choice = policy.WhichOneof("policy_choice")
    if choice == "all":
        chosen = sorted(found)
    elif choice == "specific":
        chosen = sorted(set(policy.specific.versions) & set(found))
    else:
        chosen = sorted(found)[-max(1, policy.latest.num_versions) :]
    return {number: found[number] for number in chosen}


def _refused(code: str, message: str) -> ServingError:
    return ServingError(message, code=code)
