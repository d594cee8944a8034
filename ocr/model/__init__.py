"""The text detector: a residual backbone, a feature pyramid and DBNet's head."""

from ocr.model.backbone import Backbone, BackboneName
from ocr.model.dbnet import DBNet, DetectorOutput, DetectorParams
from ocr.model.neck import AdaptiveScaleFusion, FeaturePyramid
