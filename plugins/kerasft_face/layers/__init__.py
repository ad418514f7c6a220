"""The layers that StyleGAN2 is made of, NHWC, differentiable twice."""

from __future__ import annotations

from kerasft_face.layers.constant import LearnedConstant
from kerasft_face.layers.equalized import EqualizedConv2D, EqualizedDense
from kerasft_face.layers.mapping import Mapping
from kerasft_face.layers.minibatch import MinibatchDeviation
from kerasft_face.layers.modulated import ModulatedConv2D
from kerasft_face.layers.noise import Noise
from kerasft_face.layers.resampling import Resample
from kerasft_face.layers.styled import StyledConv2D

__all__ = [
    "EqualizedConv2D",
    "EqualizedDense",
    "LearnedConstant",
    "Mapping",
    "MinibatchDeviation",
    "ModulatedConv2D",
    "Noise",
    "Resample",
    "StyledConv2D",
]
