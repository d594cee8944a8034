"""Image files: what they are, what they may cost, their pixels. Untrusted bytes come in, verdicts go out."""

from ocr.images.header import Header, Limits, accepted, read_header
from ocr.images.jpeg import Damage, Jpeg
from ocr.images.pillow import turn
from ocr.images.resample import place, resize
from ocr.images.upright import Upright, find_damage, make_upright
