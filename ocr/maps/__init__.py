"""DBNet's ground truth: probability and threshold maps from text polygons, exactly."""

from ocr.maps.build import MapParams, Maps, build_maps
from ocr.maps.outlines import PolygonFate, shape_polygons
