"""Pictures that are decoded, and the verdicts on those that cannot be."""

from __future__ import annotations

import pytest
from PIL import Image

from ocr.preprocess import DecodeParams, decode_upright
from pipeline.errors import Quarantine
from tests.support import image_bytes as made

COLOUR = Image.fromarray(made.picture())
LARGE = made.jpeg(made.picture(64, 96), quality=95)


def verdict(data: bytes, **params: object) -> str:
    with pytest.raises(Quarantine) as caught:
        decode_upright(data, DecodeParams(**params))
    assert caught.value.reason
    return caught.value.code
