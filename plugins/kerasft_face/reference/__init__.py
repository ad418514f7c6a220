"""Networks that the reference implementations of StyleGAN2(-ADA) wrote, as a start for training."""

from kerasft_face.reference.networks import Reference
from kerasft_face.reference.places import fill
from kerasft_face.reference.read import EXTENSIONS, NOTICE, read

__all__ = ["EXTENSIONS", "NOTICE", "Reference", "fill", "read"]
