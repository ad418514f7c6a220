"""KerasHub, which an extra installs."""

from __future__ import annotations

from typing import Any

from kerasft.errors import PretrainedError


def keras_hub_package() -> Any:
    """Returns the module `keras_hub`, which registers its classes when it is imported.

    Raises:
        PretrainedError: It cannot be imported.
    """
    try:
        import keras_hub
    except ImportError as error:
        raise PretrainedError(
            f"encoders and presets of KerasHub need keras-hub, which cannot be imported ({error}); install "
            "it with: pip install 'kerasft[text]'"
        ) from error
    return keras_hub
