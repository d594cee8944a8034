from .backbone import Backbone as Backbone
from .backbone import BackboneName as BackboneName
from .dbnet import DBNet as DBNet
from .dbnet import DetectorOutput as DetectorOutput
from .dbnet import DetectorParams as DetectorParams
from .neck import AdaptiveScaleFusion as AdaptiveScaleFusion
from .neck import FeaturePyramid as FeaturePyramid
from .onnx_network import OnnxNetwork as OnnxNetwork
