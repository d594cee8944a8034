"""Annotation files of many formats, read into one shape: images with words."""

from ocr.annotations.folders import image_files, walk_files
from ocr.annotations.formats import FORMATS, Annotations, read_annotations
from ocr.annotations.labels import PLAIN, LabelOptions, Remarks
from ocr.annotations.native import dump
from ocr.annotations.primitives import box_points
from ocr.annotations.problems import AnnotationError, Problem, describe
from ocr.annotations.remembered import read_remembered
from ocr.annotations.results import image_ids, match_names, read_results
from ocr.annotations.words import AnnotatedImage, Word, Words, words_digest
