"""How well detections match the ground truth: IoU H-mean (ICDAR) and CLEval."""

from ocr.metrics.iou import IouHmean

__all__ = ["IouHmean"]
