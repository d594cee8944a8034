from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.online_samples import COUNT


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of six images, one of them with EXIF orientation 6, and ICDAR labels."""
    folder = tmp_path_factory.mktemp("raw")
    (folder / "img").mkdir()
    (folder / "box").mkdir()
    rng = np.random.default_rng(0)
    for index in range(COUNT):
        pixels = rng.integers(0, 255, (16, 12, 3), dtype=np.uint8)
        image = Image.fromarray(pixels).resize((120, 160), Image.Resampling.BICUBIC)
        exif = Image.Exif()
        if index == 2:
            exif[0x0112] = 6
        image.save(folder / "img" / f"{index}.jpg", quality=95, exif=exif)
        right = 150 if index == 2 else 90  # beyond the raw width: drawn on the upright image
        tops = (10, 40, 70)[: index + 1]
        lines = [f"10,{top},{right},{top},{right},{top + 18},10,{top + 18},word {top}" for top in tops]
        (folder / "box" / f"{index}.csv").write_text("\n".join(lines))
    return folder
