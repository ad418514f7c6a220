"""Readers of weight files that other frameworks write: they yield arrays and run none of the file's code."""

from __future__ import annotations

from kerasft.pretrained.readers.gguf import Gguf, read_gguf
from kerasft.pretrained.readers.pickles import read_pickle
from kerasft.pretrained.readers.torch import read_torch

__all__ = ["Gguf", "read_gguf", "read_pickle", "read_torch"]
