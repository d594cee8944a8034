from .backbone import Backbone as Backbone
from .backbone import BackboneName as BackboneName
from .dbnet import DBNet as DBNet
from .dbnet import DetectorOutput as DetectorOutput
from .dbnet import DBNetParams as DBNetParams
from .neck import AdaptiveScaleFusion as AdaptiveScaleFusion
from .neck import FeaturePyramid as FeaturePyramid
from .onnx_network import OnnxNetwork as OnnxNetwork
