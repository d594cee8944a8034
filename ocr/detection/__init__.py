"""From probability maps to text boxes: DBNet's post-processing."""

from ocr.detection.box_decoder import BoxDecoder, Detections, as_float32
from ocr.detection.decoder import TOLERANCE, Decoder, as_detections, decode_batch, decoded
from ocr.detection.region_scores import means_inside
from ocr.detection.unclip import grown
