"""The stages of the preprocessing pipeline, one file each, in the order in which they run."""

from stages.canonicalize import Canonicalize
from stages.decode import Decode
from stages.maps import Maps
from stages.tensors import Tensors

STAGES = (Canonicalize, Decode, Maps, Tensors)
