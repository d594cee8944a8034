from .backbone import Backbone as Backbone
from .dbnet import DBNet as DBNet
from .neck import AdaptiveScaleFusion as AdaptiveScaleFusion
from .neck import FeaturePyramid as FeaturePyramid
from .onnx_network import OnnxNetwork as OnnxNetwork
