"""Skeletons: the places of joints, frame by frame."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from kerasft.data import Field, Source
from kerasft.data.opening import open_records
from kerasft.errors import DataError, OrderError
from kerasft.training import Augmentation
from kerasft_video.checked import Checked
from kerasft_video.inputs.base import Input
from kerasft_video.models import Network, skeleton
from kerasft_video.skeletons import augmentation, drawn, paced

NAMES = ("xy", "xyz", "skeleton", "keypoints", "joints", "pose", "x")
"""Names of the column."""

_DRAWN_JOINTS = 5


class Skeletons(Input):
    """The column `xy`: places of joints, float `[frames, joints, 2 or 3]`, of any number of frames."""

    column = "xy"
    missing = (
        "the data has no skeletons: give a column xy (arrays [frames, joints, 2]), a .npz with xy and label, "
        "or a .jsonl."
    )

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self._shape: tuple[int, int] | None = config.skeleton.joints and (config.skeleton.joints, 2)

    @property
    def shape(self) -> tuple[int, int]:
        """Joints of a skeleton, and numbers of a joint.

        Raises:
            OrderError: They are not known before the training data is.
        """
        if self._shape is None:
            raise OrderError(
                "The number of joints is not known yet: call finetune(data), which learns it, or give "
                "skeleton.joints before build()."
            )
        return self._shape

    def fields(self) -> tuple[Field, ...]:
        return (Field(name="xy", kind="any", required=False),)

    def open_data(self, data: Any, *, target: str) -> Any:
        if isinstance(data, (str, os.PathLike)) and Path(data).suffix.lower() == ".npz":
            data = _archive(Path(data).expanduser(), target)
        if isinstance(data, (str, os.PathLike)) and ".jsonl" in Path(data).name:
            records: Any = open_records(data)
        else:
            if isinstance(data, tuple) and len(data) in (2, 3) and not isinstance(data[0], Mapping):
                data = dict(zip(("xy", target, "sample_weight"), data, strict=False))
            if not isinstance(data, Mapping):
                return data
            records = open_records(data)
        column = next((name for name in NAMES if name in records.columns), None)
        if column is None:
            return records
        return Checked(records, column=column, name="xy", convert=self._checked)

    def _checked(self, value: Any) -> np.ndarray:
        """Returns places of joints as an array.

        Raises:
            DataError: They are none; "problem; remedy".
        """
        try:
            array = np.asarray(value, np.float32)
        except (TypeError, ValueError):
            raise DataError("frames with different numbers of joints; give each frame all joints") from None
        if array.ndim != 3 or array.shape[-1] not in (2, 3) or not array.size:
            raise DataError(
                f"a skeleton of the shape {array.shape}; give [frames, joints, 2] or [frames, joints, 3]"
            )
        if self._shape is not None and array.shape[1:] != self._shape:
            raise DataError(
                f"a skeleton of {array.shape[1]} joints in {array.shape[2]} dimensions, but the model knows "
                f"{self._shape[0]} in {self._shape[1]}; give it those"
            )
        if len(array) < self.config.sampling.least:
            raise DataError(
                f"a skeleton of {len(array)} frame, and sampling.least is {self.config.sampling.least}; "
                "remove it"
            )
        if not np.isfinite(array).all():
            frame, joint = np.argwhere(~np.isfinite(array))[0][:2]
            raise DataError(f"no number for joint {joint} of frame {frame}; fill in or leave out the row")
        return array

    def adapt(self, source: Source) -> None:
        if self._shape is not None:
            return
        shapes = {np.shape(value)[1:] for value in source.iterate("xy")}
        if len(shapes) > 1:
            (one, _), (other, _) = sorted(shapes)[:2]
            raise DataError(
                f"{source.name}: skeletons have {one} joints in some rows and {other} in others; give them "
                "the same number."
            )
        self._shape = shapes.pop()

    def learned(self) -> dict[str, Any]:
        return {"shape": self.shape}

    def restore(self, learned: Mapping[str, Any]) -> None:
        joints, dimensions = learned["shape"]
        self._shape = (joints, dimensions)

    def made(self, value: Any, where: str) -> np.ndarray:
        try:
            array = self._checked(value)
        except DataError as error:
            raise DataError(f"{where}: {error}.") from None
        with tf.device("CPU:0"):
            resampled: np.ndarray = paced(tf.constant(array[None]), self.config.sampling.frames).numpy()
        return resampled

    def network(self) -> Network:
        return skeleton(self.config.sampling.frames, *self.shape, filters=self.config.skeleton.filters)

    def augmentation(self) -> Augmentation | None:
        return augmentation(self.config.skeleton)

    def preprocess(self, raw: dict[str, Any]) -> dict[str, Any]:
        if "xy" not in raw:
            raise DataError(f"{self.missing[0].upper()}{self.missing[1:]}")
        return {"xy": paced(tf.cast(raw["xy"], tf.float32), self.config.sampling.frames)}

    def request(self, rows: dict[str, Any], *, signature: str) -> dict[str, Any]:
        found = rows.get("xy", [])
        made = [self.made(value, f"row {number}")[0] for number, value in enumerate(found)]
        return {"xy": made} if made else {}

    def signatures(self) -> dict[str, dict[str, tf.TensorSpec]]:
        shape = self._shape or (None, None)
        return {"serving_default": {"xy": tf.TensorSpec([None, None, *shape], tf.float32)}}

    def example(self, count: int) -> dict[str, list[Any]]:
        joints, dimensions = self._shape or (_DRAWN_JOINTS, 2)
        return {"xy": list(drawn(count, joints=joints, dimensions=dimensions))}


def _archive(path: Path, target: str) -> dict[str, Any]:
    """Reads a .npz: `xy` is `[rows, frames, joints, 2]`, or has all frames end to end, with `offsets`."""
    try:
        with np.load(path, allow_pickle=False) as found:
            arrays = {name: found[name] for name in found.files}
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is no readable .npz ({error}); name one with xy and label") from None
    column = next((name for name in NAMES if name in arrays), None)
    if column is None:
        raise DataError(f"{path} has the arrays {', '.join(arrays) or '(none)'}; one must be called xy")
    values: Any = arrays[column]
    if "offsets" in arrays:
        ends = arrays["offsets"]
        if ends[0] != 0 or ends[-1] != len(values) or (np.diff(ends) < 0).any():
            raise DataError(f"{path}: offsets must go from 0 to {len(values)}, the frames of {column}")
        values = np.split(values, ends[1:-1])
    data: dict[str, Any] = {"xy": list(values)}
    for name in (target, f"{target}s", "y"):
        if name in arrays:
            data[target] = list(arrays[name])
            break
    return data
