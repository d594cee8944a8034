"""The frame audit for a person: a row for each turned image, a sheet of the doubtful in both frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from ocr.geometry import Points, transform_points, upright_points
from ocr.preprocess import CanonicalParams, DecodeParams, RawSample, canonicalize, decode_upright
from ocr.splits.annotated_split import LocatedImage
from ocr.splits.label_frames import FrameDecision, FrameEvidence, LabelFrame, decide_frames, fits
from pipeline.errors import Quarantine
from pipeline.pictures import as_pixels, outline

_PANEL, _GAP, _CAPTION = 400, 12, 34
_PAPER, _INK, _TAKEN, _OTHER = (250, 250, 250), (20, 20, 20), (0, 150, 60), (220, 90, 0)


@dataclass(frozen=True, eq=False)
class FrameRow:
    """What the audit says of one image.

    `raw_only` and `upright_only` count the polygons that fit into that frame only. `decision` is the
    split's, `told` what the image and the majority say, whatever was declared.
    """

    image: LocatedImage
    evidence: FrameEvidence
    raw_only: int
    upright_only: int
    decision: FrameDecision
    told: FrameDecision

    @property
    def doubtful(self) -> bool:
        """Nothing tells, only the other images do, or the image tells other than what was declared."""
        if self.told.by_evidence:
            return self.told.frame != self.decision.frame
        return self.told.rule != "no_polygons"


def frame_rows(audited: Sequence[tuple[LocatedImage, FrameEvidence]], declared: LabelFrame) -> list[FrameRow]:
    """Audit a split (`AnnotatedSplit.evidence`); a row for each image whose orientation is not 1."""
    evidence = [found for _, found in audited]
    rows = zip(audited, decide_frames(evidence, declared), decide_frames(evidence), strict=True)
    return [
        FrameRow(image, found, *fits(found), decision, told)
        for (image, found), decision, told in rows
        if found.orientation != 1
    ]


def draw_sheet(rows: Sequence[FrameRow], most: int = 20) -> Image.Image:
    """Draw the first `most` doubtful images, each with its labels taken as raw and as upright.

    The labels are green in the frame that was decided, orange in the other. Save it as PNG.
    """
    doubtful = [row for row in rows if row.doubtful][:most]
    size = (2 * _PANEL + 3 * _GAP, _GAP + max(1, len(doubtful)) * (_PANEL + _CAPTION + _GAP))
    sheet = Image.new("RGB", size, _PAPER)
    if not doubtful:
        ImageDraw.Draw(sheet).text((_GAP, _GAP), "No image is doubtful.", fill=_INK)
    for index, row in enumerate(doubtful):
        _draw_row(sheet, row, _GAP + index * (_PANEL + _CAPTION + _GAP))
    return sheet


def _draw_row(sheet: Image.Image, row: FrameRow, top: int) -> None:
    draw = ImageDraw.Draw(sheet)
    name = row.image.sample_id.encode("ascii", "replace").decode()
    found, decision = row.evidence, row.decision
    caption = f"{name}   EXIF orientation {found.orientation}   {decision.frame}: {decision.rule}"
    draw.text((_GAP, top), caption, fill=_INK)
    drawn = [points for points in found.polygons if len(points) > 1 and np.isfinite(points).all()]
    turned: list[Points] = [upright_points(points, found.size, found.orientation) for points in drawn]
    for column, (frame, polygons) in enumerate((("raw", turned), ("upright", drawn))):
        left = _GAP + column * (_PANEL + _GAP)
        draw.text((left, top + _CAPTION // 2), f"labels as {frame}", fill=_INK)
        colour = _TAKEN if decision.frame == frame else _OTHER
        sheet.paste(_panel(row, polygons, colour), (left, top + _CAPTION))


def _panel(row: FrameRow, polygons: Sequence[Points], colour: tuple[int, int, int]) -> Image.Image:
    """Draw the upright image with polygons of its frame; a grey panel where the image is refused."""
    try:
        upright = canonicalize(RawSample(row.image.path), CanonicalParams()).upright
        decoded = decode_upright(upright, DecodeParams(canvas=(_PANEL, _PANEL), pad_value=220))
    except Quarantine as verdict:
        panel = Image.new("RGB", (_PANEL, _PANEL), (220, 220, 220))
        ImageDraw.Draw(panel).text((_GAP, _GAP), verdict.code, fill=_INK)
        return panel
    panel = Image.fromarray(as_pixels(decoded.image))
    draw = ImageDraw.Draw(panel)
    for points in polygons:
        corners = np.clip(transform_points(decoded.matrix, points), -_PANEL, 2 * _PANEL)
        outline(draw, corners, colour, 2)
    return panel
