"""The text detector: a residual backbone, a feature pyramid and DBNet's head."""

from ocr.model.dbnet import DBNet, DetectorOutput, DetectorParams

__all__ = ["DBNet", "DetectorOutput", "DetectorParams"]
