"""Layer groups of any backbone: one for each size of the map of features."""

from __future__ import annotations

import keras

_HALVED = 0.75


def stages(backbone: keras.Model) -> dict[str, list[keras.Layer]]:
    """Groups the layers of a functional model by the height of what they give, input to output.

    A new stage begins where the height falls below three quarters of that of the stage. Maps of height 1
    (squeeze and excitation) belong to the stage in which they stand; so do layers without a map.

    Args:
        backbone: A functional model of pictures.

    Returns:
        `stage_0`, `stage_1` and so on; each has weights.

    Example:
        >>> from kerasft.vision.backbones.small import resnet20
        >>> {name: len(layers) for name, layers in stages(resnet20(32)).items()}
        {'stage_0': 25, 'stage_1': 21, 'stage_2': 21}
    """
    found: list[list[keras.Layer]] = [[]]
    height: int | None = None
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.InputLayer):
            continue
        shape: tuple[int | None, ...] = tuple(layer.output.shape)
        own = shape[1] if len(shape) == 4 else None
        if own is not None and own > 1:
            if height is None:
                height = own
            elif own < _HALVED * height:
                height = own
                if any(member.weights for member in found[-1]):
                    found.append([])
        found[-1].append(layer)
    if len(found) > 1 and not any(member.weights for member in found[-1]):
        found[-2].extend(found.pop())
    return {f"stage_{number}": members for number, members in enumerate(found)}
