"""How well detections match the ground truth: IoU H-mean (ICDAR 2015) and CLEval."""

from ocr.metrics.cleval import CLEval
from ocr.metrics.iou import IouHmean

__all__ = ["CLEval", "IouHmean"]
