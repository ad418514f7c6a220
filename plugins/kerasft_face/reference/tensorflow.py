"""The pickles of the TensorFlow implementations, under the names of the PyTorch one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from kerasft.errors import PretrainedError
from kerasft_face.reference.networks import Reference

NETWORK = "dnnlib.tflib.network.Network"

_EXPECTED = {
    "num_channels": (3,),
    "architecture": ("skip", "resnet"),
    "nonlinearity": ("lrelu",),
    "mapping_nonlinearity": ("lrelu",),
    "resample_kernel": ([1, 3, 3, 1], (1, 3, 3, 1)),
    "mbstd_num_features": (1,),
    "fused_modconv": (True, False),
}
_TURN = (3, 2, 0, 1)  # kernels [height, width, in, out] become [out, in, height, width]


def _as_it_is(value: Any) -> Any:
    return value


def _dense(value: Any) -> Any:
    return value.T


def _convolution(value: Any) -> Any:
    return value.transpose(_TURN)


def _growing(value: Any) -> Any:
    """It turned these kernels at every use."""
    return value[::-1, ::-1].transpose(_TURN)


# Patterns of names, with what becomes of name and value; {0}, {1} are the groups.
_PARTS: tuple[tuple[str, str, Callable[[Any], Any]], ...] = (
    (r"dlatent_avg", "mapping.w_avg", _as_it_is),
    (r"(?:mapping/)?LabelEmbed/weight", "mapping.embed.weight", _dense),
    (r"(?:mapping/)?LabelEmbed/bias", "mapping.embed.bias", _as_it_is),
    (r"mapping/Dense(\d+)/weight", "mapping.fc{0}.weight", _dense),
    (r"mapping/Dense(\d+)/bias", "mapping.fc{0}.bias", _as_it_is),
    (r"Mapping(\d+)/weight", "mapping.fc{0}.weight", _dense),
    (r"Mapping(\d+)/bias", "mapping.fc{0}.bias", _as_it_is),
    (r"synthesis/4x4/Const/const", "synthesis.b4.const", lambda value: value[0]),
    (r"synthesis/(\d+)x\d+/(\w+)/mod_weight", "synthesis.b{0}.{1}.affine.weight", _dense),
    (r"synthesis/(\d+)x\d+/(\w+)/mod_bias", "synthesis.b{0}.{1}.affine.bias", lambda value: value + 1.0),
    (r"synthesis/(\d+)x\d+/(Conv0_up)/weight", "synthesis.b{0}.{1}.weight", _growing),
    (r"synthesis/(\d+)x\d+/(\w+)/weight", "synthesis.b{0}.{1}.weight", _convolution),
    (r"synthesis/(\d+)x\d+/(\w+)/(bias|noise_strength)", "synthesis.b{0}.{1}.{2}", _as_it_is),
    (r"4x4/Dense0/weight", "b4.fc.weight", _dense),
    (r"4x4/Dense0/bias", "b4.fc.bias", _as_it_is),
    (r"Output/weight", "b4.out.weight", _dense),
    (r"Output/bias", "b4.out.bias", _as_it_is),
    (r"4x4/(Conv)/weight", "b4.conv.weight", _convolution),
    (r"4x4/(Conv)/bias", "b4.conv.bias", _as_it_is),
    (r"(\d+)x\d+/(\w+)/weight", "b{0}.{1}.weight", _convolution),
    (r"(\d+)x\d+/(\w+)/bias", "b{0}.{1}.bias", _as_it_is),
)
_LAYERS = {
    "Conv": "conv1",
    "Conv0_up": "conv0",
    "Conv0": "conv0",
    "Conv1": "conv1",
    "Conv1_down": "conv1",
    "ToRGB": "torgb",
    "FromRGB": "fromrgb",
    "Skip": "skip",
}
_NOISE = re.compile(r"synthesis/noise(\d+)")
_UNUSED = re.compile(r"(.*/)?lod")  # how far the growth of the very first version was


def reference(found: tuple[Any, ...], *, source: Any) -> Reference:
    """Returns the networks of a pickle with a generator, a discriminator and the average of the former.

    Args:
        found: The three as records.
        source: What errors call them.

    Raises:
        PretrainedError: They are other networks.
    """
    _, discriminator, generator = found
    settings = []
    for network in (generator, discriminator):
        if not isinstance(network, Mapping) or "variables" not in network:
            raise PretrainedError(f"{source} is a pickle, but none with networks of a reference StyleGAN2")
        settings.append(dict(network.get("static_kwargs") or {}))
        _check(settings[-1], source)
    return Reference(
        source=source,
        generator=dict(_renamed(generator, source)),
        discriminator=dict(_renamed(discriminator, source)),
        mapping_rate=float(settings[0].get("mapping_lrmul", 0.01)),
        label_rate=float(settings[1].get("mapping_lrmul", 0.1)),
        group=int(settings[1].get("mbstd_group_size") or 4),
    )


def _check(settings: Mapping[str, Any], source: Any) -> None:
    for name, known in _EXPECTED.items():
        if name in settings and settings[name] not in known:
            raise PretrainedError(
                f"{source} cannot be imported: its networks have {name} {settings[name]!r}, the face task "
                f"knows {known[0]!r} only"
            )


def _renamed(network: Mapping[str, Any], source: Any) -> Iterator[tuple[str, np.ndarray]]:
    for name, value in _variables(network):
        if _UNUSED.fullmatch(name):
            continue
        noise = _NOISE.fullmatch(name)
        if noise is not None:
            yield _of_noise(int(noise[1])), value[0, 0]
            continue
        for pattern, becomes, turn in _PARTS:
            match = re.fullmatch(pattern, name)
            if match is not None:
                groups = [_LAYERS.get(group, group) for group in match.groups()]
                yield becomes.format(*groups), turn(value)
                break
        else:
            raise PretrainedError(
                f"{source} cannot be imported: {name} belongs to no StyleGAN2 with skip generator and "
                "residual discriminator"
            )


def _of_noise(number: int) -> str:
    """Noise is numbered by layer: one at 4x4, then two at each resolution."""
    side = 2 ** ((number + 5) // 2)
    return f"synthesis.b{max(4, side)}.conv{number % 2 == 0:d}.noise_const"


def _variables(network: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in network["variables"]:
        yield f"{prefix}{name}", value
    for name, part in (network.get("components") or {}).items():
        yield from _variables(part, f"{prefix}{name}/")
