"""The stages of the preprocessing pipeline, one file each, in the order in which they run; and one's own."""

from stages.canonicalize import Canonicalize
from stages.decode import Decode
from stages.maps import Maps
from stages.own import find_stage, in_order, installed_stages
from stages.tensors import Tensors

STAGES = (Canonicalize, Decode, Maps, Tensors)
