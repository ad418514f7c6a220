"""Reference networks of random numbers: their pickles, and what they make, in numpy from the formulas.

Sources: Karras et al., 2020, "Analyzing and Improving the Image Quality of StyleGAN"; the layout of the files
is that of the published implementations. Tensors have the names of the PyTorch one, pictures are `[batch,
channels, height, width]`.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..pretrained.torch_files import Call, Storage, dump, stand_ins, stream

Tensors = Mapping[str, np.ndarray]
ROW = np.array([1.0, 3.0, 3.0, 1.0]) / 8.0
PERSISTENT = "torch_utils.persistence._reconstruct_persistent_obj"


class Sizes(NamedTuple):
    resolution: int = 16
    base: int = 64
    most: int = 6
    z: int = 5
    w: int = 7
    depth: int = 2
    classes: int = 0
    label_depth: int = 3
    rate: float = 0.01

    def channels(self, side: int) -> int:
        return min(self.base // side, self.most)

    @property
    def sides(self) -> list[int]:
        return [2**power for power in range(2, self.resolution.bit_length())]


def generator(sizes: Sizes, *, seed: int = 0) -> dict[str, np.ndarray]:
    """Returns tensors of a generator, of the size that training gives them."""
    draw, wide = _Draw(seed), sizes.z + (sizes.w if sizes.classes else 0)
    draw.mapping(wide, sizes.w, sizes.depth, sizes)
    draw["mapping.w_avg"] = (sizes.w,)
    draw["synthesis.b4.const"] = (sizes.channels(4), 4, 4)
    inputs = sizes.channels(4)
    for side in sizes.sides:
        for layer in ("conv0", "conv1", "torgb"):
            if side == 4 and layer == "conv0":
                continue
            name, outputs = f"synthesis.b{side}.{layer}", 3 if layer == "torgb" else sizes.channels(side)
            kernel = 1 if layer == "torgb" else 3
            draw.layer(name, (outputs, inputs, kernel, kernel))
            draw.layer(f"{name}.affine", (inputs, sizes.w), bias=1.0)
            if layer != "torgb":
                draw[f"{name}.noise_const"] = (side, side)
                draw[f"{name}.noise_strength"] = ()
                inputs = outputs
    return draw.made


def discriminator(sizes: Sizes, *, seed: int = 1) -> dict[str, np.ndarray]:
    """Returns tensors of a discriminator."""
    draw, top, low = _Draw(seed), sizes.sides[-1], sizes.channels(4)
    draw.layer(f"b{top}.fromrgb", (sizes.channels(top), 3, 1, 1))
    for side in sizes.sides[1:]:
        own, next_ = sizes.channels(side), sizes.channels(side // 2)
        draw.layer(f"b{side}.conv0", (own, own, 3, 3))
        draw.layer(f"b{side}.conv1", (next_, own, 3, 3))
        draw[f"b{side}.skip.weight"] = (next_, own, 1, 1)
    draw.layer("b4.conv", (low, low + 1, 3, 3))
    draw.layer("b4.fc", (low, low * 16))
    draw.layer("b4.out", (low if sizes.classes else 1, low))
    if sizes.classes:
        draw.mapping(low, low, sizes.label_depth, sizes)
    return draw.made


class _Draw:
    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self.made: dict[str, np.ndarray] = {}

    def __setitem__(self, name: str, shape: tuple[int, ...]) -> None:
        self.made[name] = np.asarray(self._random.standard_normal(shape), np.float32)

    def layer(self, name: str, shape: tuple[int, ...], *, bias: float = 0.0, scale: float = 1.0) -> None:
        self[f"{name}.weight"] = shape
        self[f"{name}.bias"] = shape[:1]
        self.made[f"{name}.weight"] *= np.float32(scale)
        self.made[f"{name}.bias"] += np.float32(bias)

    def mapping(self, inputs: int, width: int, depth: int, sizes: Sizes) -> None:
        if sizes.classes:
            self.layer("mapping.embed", (width, sizes.classes))
        for number in range(depth):
            self.layer(f"mapping.fc{number}", (width, inputs), scale=1.0 / sizes.rate)
            inputs = width


# ------------------------------------------------------------------------------------------------- In numpy


def leaky(x: np.ndarray) -> np.ndarray:
    return np.where(x > 0, x, 0.2 * x) * np.sqrt(2.0)


def make(t: Tensors, sizes: Sizes, z: np.ndarray, label: np.ndarray | None, psi: float) -> np.ndarray:
    """Returns the pictures of latents; a convolution that grows turns its kernel."""
    w = map_(t, sizes, z, label)
    w = t["mapping.w_avg"] + psi * (w - t["mapping.w_avg"])
    x = np.repeat(t["synthesis.b4.const"][None].astype(float), len(z), 0)
    picture: Any = 0.0
    for side in sizes.sides:
        name = f"synthesis.b{side}"
        if side > 4:
            x = styled(t, f"{name}.conv0", _filtered(_spread(x), (3, 2), 2.0), w, turned=True)
            picture = _filtered(_spread(picture), (2, 1), 2.0)
        x = styled(t, f"{name}.conv1", _padded(x, (1, 1)), w)
        colour = modulated(t, f"{name}.torgb", x, w, demodulate=False)
        picture = picture + colour + t[f"{name}.torgb.bias"][:, None, None]
    return picture


def judge(t: Tensors, sizes: Sizes, x: np.ndarray, label: np.ndarray | None, group: int) -> np.ndarray:
    """Returns the scores of pictures."""
    half = np.sqrt(0.5)
    x = leaky(_layer(t, f"b{sizes.resolution}.fromrgb", x))
    for side in reversed(sizes.sides[1:]):
        skip = _correlated(_filtered(x, (1, 1))[:, :, ::2, ::2], _scaled(t[f"b{side}.skip.weight"]))
        x = leaky(_layer(t, f"b{side}.conv0", _padded(x, (1, 1))))
        x = leaky(_layer(t, f"b{side}.conv1", _filtered(x, (2, 2)))[:, :, ::2, ::2])
        x = skip * half + x * half
    groups = x.reshape(group, -1, *x.shape[1:])
    spread = np.sqrt(groups.var(0) + 1e-8).mean((1, 2, 3))
    extra = np.tile(spread, group)[:, None, None, None] * np.ones((1, 1, 4, 4))
    x = leaky(_layer(t, "b4.conv", _padded(np.concatenate([x, extra], 1), (1, 1))))
    x = leaky(dense(t, "b4.fc", x.reshape(len(x), -1)))
    scores = dense(t, "b4.out", x)
    if label is None:
        return scores[:, 0]
    return (scores * map_(t, sizes, None, label)).sum(1) / np.sqrt(scores.shape[1])


def map_(t: Tensors, sizes: Sizes, z: np.ndarray | None, label: np.ndarray | None) -> np.ndarray:
    parts = [] if z is None else [z]
    if label is not None:
        parts.append(dense(t, "mapping.embed", label))
    x = np.concatenate([part / np.sqrt((part**2).mean(1, keepdims=True) + 1e-8) for part in parts], 1)
    for number in range(sum(name.endswith(".bias") and ".fc" in name for name in t if "mapping" in name)):
        x = leaky(dense(t, f"mapping.fc{number}", x, rate=sizes.rate))
    return x


def dense(t: Tensors, name: str, x: np.ndarray, *, rate: float = 1.0) -> np.ndarray:
    return x @ _scaled(t[f"{name}.weight"]).T * rate + t[f"{name}.bias"] * rate


def styled(t: Tensors, name: str, x: np.ndarray, w: np.ndarray, *, turned: bool = False) -> np.ndarray:
    x = modulated(t, name, x, w, turned=turned)
    x = x + t[f"{name}.noise_const"] * t[f"{name}.noise_strength"]
    return leaky(x + t[f"{name}.bias"][:, None, None])


def modulated(
    t: Tensors, name: str, x: np.ndarray, w: np.ndarray, *, demodulate: bool = True, turned: bool = False
) -> np.ndarray:
    """One kernel for each picture."""
    styles, made = dense(t, f"{name}.affine", w), []
    kernel = _scaled(t[f"{name}.weight"])
    for row, style in zip(x, styles, strict=True):
        own = kernel * style[:, None, None]
        if demodulate:
            own = own / np.sqrt((own**2).sum((1, 2, 3), keepdims=True) + 1e-8)
        made.append(_correlated(row[None], own[:, :, ::-1, ::-1] if turned else own)[0])
    return np.stack(made)


def _layer(t: Tensors, name: str, x: np.ndarray) -> np.ndarray:
    return _correlated(x, _scaled(t[f"{name}.weight"])) + t[f"{name}.bias"][:, None, None]


def _scaled(weight: np.ndarray) -> np.ndarray:
    return weight / np.sqrt(np.prod(weight.shape[1:]))


def _correlated(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    size = kernel.shape[2]
    windows = np.lib.stride_tricks.sliding_window_view(x, (size, size), (2, 3))
    return np.einsum("nihwyx,oiyx->nohw", windows, kernel)


def _padded(x: np.ndarray, padding: tuple[int, int]) -> np.ndarray:
    return np.pad(x, [(0, 0), (0, 0), padding, padding])


def _spread(x: np.ndarray) -> np.ndarray:
    wide = np.zeros((*x.shape[:2], 2 * x.shape[2], 2 * x.shape[3]))
    wide[:, :, ::2, ::2] = x
    return wide


def _filtered(x: np.ndarray, padding: tuple[int, int], gain: float = 1.0) -> np.ndarray:
    """The binomial filter; `gain` is that of either axis."""
    windows = np.lib.stride_tricks.sliding_window_view(_padded(x, padding), (4, 4), (2, 3))
    return np.einsum("nchwyx,y,x->nchw", windows, ROW * gain, ROW * gain)


# ------------------------------------------------------------------------------------------------- In files


class EasyDict(dict):  # type: ignore[type-arg]
    """Stands for the one of both implementations."""


class Network:
    """Stands for the one of TensorFlow."""


def write_torch(
    path: Path, g: Tensors, d: Tensors, sizes: Sizes, *, group: int = 2, extra: Any = None
) -> Path:
    """Writes what StyleGAN2-ADA in PyTorch writes: records of modules, a stream for each tensor."""
    names = (
        PERSISTENT,
        "torch._utils._rebuild_tensor_v2",
        "torch._utils._rebuild_parameter",
        "torch.storage._load_from_bytes",
        "torch.FloatStorage",
        "numpy.core.multiarray.scalar",
    )
    with stand_ins(*names, classes={"dnnlib.util.EasyDict": EasyDict}) as found:
        persistent, tensor, parameter, load, kind, scalar = found

        def number(value: float) -> Any:
            return Call(scalar, np.dtype("f8"), np.float64(value).tobytes())

        def pickled(array: np.ndarray, *, trained: bool) -> Any:
            strides = tuple(stride // 4 for stride in array.strides)
            content = Call(load, stream(Storage("94", kind, array)))
            view = Call(tensor, content, 0, array.shape, strides, False, OrderedDict())
            return Call(parameter, view, True, OrderedDict()) if trained else view

        def module(tensors: Tensors, name: str = "") -> Any:
            state: dict[str, Any] = {"training": False, "_non_persistent_buffers_set": set()}
            parts: dict[str, dict[str, np.ndarray]] = {}
            own: dict[str, np.ndarray] = {}
            for key, value in tensors.items():
                head, _, rest = key.partition(".")
                if rest:
                    parts.setdefault(head, {})[rest] = value
                else:
                    own[key] = value
            buffers = ("w_avg", "noise_const", "resample_filter")
            state["_parameters"] = OrderedDict(
                (key, pickled(value, trained=True)) for key, value in own.items() if key not in buffers
            )
            state["_parameters"].update(bias=state["_parameters"].get("bias"))  # None where there is none
            state["_buffers"] = OrderedDict(
                (key, pickled(value, trained=False)) for key, value in own.items() if key in buffers
            )
            state["_modules"] = OrderedDict((key, module(part, key)) for key, part in parts.items())
            if re.fullmatch(r"fc\d+", name) and "weight" in own:
                state["weight_gain"] = number(sizes.rate / np.sqrt(own["weight"].shape[1]))
            if name == "b4" and "fc" in parts:
                state["_modules"]["mbstd"] = Call(
                    persistent, EasyDict(type="class", state={"group_size": group, "_modules": None})
                )
            state["activation"] = "linear" if name in ("affine", "torgb") else "lrelu"
            return Call(
                persistent,
                EasyDict(
                    type="class", version=6, module_src="raise SystemExit", class_name=name, state=state
                ),
            )

        taps = {f"synthesis.b{side}.conv1.resample_filter": _taps() for side in sizes.sides}
        snapshot = {
            "training_set_kwargs": EasyDict(class_name="training.dataset.ImageFolderDataset"),
            "G": module({name: value * 0 for name, value in g.items()}),
            "D": module(d),
            "G_ema": module({**g, **taps}),
            "augment_pipe": extra,
        }
        path.write_bytes(dump(snapshot, protocol=3))
    return path


def _taps() -> np.ndarray:
    return np.outer(ROW, ROW).astype(np.float32)


def write_tensorflow(path: Path, g: Tensors, d: Tensors, sizes: Sizes, **settings: Any) -> Path:
    """Writes what StyleGAN2 in TensorFlow writes: three networks, the last the average."""
    with stand_ins(classes={"dnnlib.tflib.network.Network": Network, "dnnlib.EasyDict": EasyDict}):

        def network(variables: dict[str, Any], **components: Any) -> Network:
            made = Network()
            made.__dict__.update(
                version=4,
                name="N",
                static_kwargs=EasyDict(resolution=sizes.resolution, num_channels=3, **settings),
                components=EasyDict(components),
                build_module_src="raise SystemExit",
                build_func_name="N",
                variables=list(variables.items()),
            )
            return made

        def whole(tensors: Tensors) -> Network:
            named = dict(_to_tensorflow(tensors))
            parts = {
                part: network({k.removeprefix(f"{part}/"): v for k, v in named.items() if k.startswith(part)})
                for part in ("mapping", "synthesis")
            }
            own = {name: value for name, value in named.items() if "/" not in name}
            return network({"lod": np.float32(0.0), **own}, **parts)

        nothing = {name: np.zeros_like(value) for name, value in g.items()}
        judged = {"lod": np.float32(0.0), **dict(_to_tensorflow(d))}
        path.write_bytes(dump((whole(nothing), network(judged), whole(g)), protocol=4))
    return path


def _to_tensorflow(tensors: Tensors) -> Any:
    """It stored kernels `[height, width, in, out]`, turned those that grow, and left the 1 out of biases."""
    for name, value in tensors.items():
        made = value.transpose(2, 3, 1, 0) if value.ndim == 4 else value.T if value.ndim == 2 else value
        block = re.match(r"(synthesis\.)?b(\d+)\.", name)
        inside = bool(block and block[1])
        if name == "mapping.w_avg":
            yield "dlatent_avg", made
        elif name.startswith("mapping."):
            part, kind = name.split(".")[1:]
            prefix = "mapping/" if "mapping.w_avg" in tensors else ""
            number = part.removeprefix("fc")
            dense_ = f"Dense{number}" if prefix else f"Mapping{number}"
            yield f"{prefix}{'LabelEmbed' if part == 'embed' else dense_}/{kind}", made
        elif name == "synthesis.b4.const":
            yield "synthesis/4x4/Const/const", value[None]
        elif name.endswith("noise_const"):
            assert block is not None
            side, first = int(block[2]), "conv0" in name
            number = 0 if side == 4 else 2 * side.bit_length() - 2 - 5 + (0 if first else 1)
            yield f"synthesis/noise{number}", value[None, None]
        elif name.startswith(("b4.fc", "b4.out")):
            yield f"{'4x4/Dense0' if '.fc.' in name else 'Output'}/{name.split('.')[-1]}", made
        else:
            assert block is not None
            side, layer = block[2], name[block.end() :].split(".")[0]
            kind = name.split(".")[-1]
            if ".affine." in name:
                kind, made = f"mod_{kind}", made - 1.0 if kind == "bias" else made
            if inside and layer == "conv0" and kind == "weight":
                made = made[::-1, ::-1]
            known = {"torgb": "ToRGB", "fromrgb": "FromRGB", "skip": "Skip", "conv": "Conv"}
            known |= (
                {"conv0": "Conv0_up", "conv1": "Conv" if side == "4" else "Conv1"}
                if inside
                else {"conv0": "Conv0", "conv1": "Conv1_down"}
            )
            yield f"{'synthesis/' if inside else ''}{side}x{side}/{known[layer]}/{kind}", made
