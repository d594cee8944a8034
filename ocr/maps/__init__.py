"""DBNet's ground truth: probability and threshold maps from text polygons, exactly."""

from ocr.maps.build import MapParams, Maps, build_maps
from ocr.maps.half import as_float16
from ocr.maps.outlines import PolygonFate, shape_polygons
