"""How well detections match the ground truth: IoU H-mean (ICDAR 2015) and CLEval."""

from ocr.metrics.areas import PackedPolygons, points_inside
from ocr.metrics.characters import aspect_ratios, corners_of, estimated_lengths, place_centres
from ocr.metrics.cleval import CLEval, CLEvalCounts
from ocr.metrics.image_metric import ImageMetric, Regions
from ocr.metrics.iou import IouCounts, IouHmean
