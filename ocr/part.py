"""A part of a split: where train and validation come out of one folder, the same samples every time."""

from __future__ import annotations

from dataclasses import dataclass

from ocr.annotations import Annotations
from ocr.frames import FrameEvidence
from ocr.source import AnnotatedSplit, HashFile, Located
from pipeline.digest import digest
from pipeline.source import SourceSample


@dataclass(frozen=True)
class Part:
    """The samples of `whole` whose ranks lie in [start, stop), in the order of the annotation.

    A sample's rank is its place when all are sorted by the digest of their ids: the same on every
    machine, spread over the set, and hardly moved by adding or removing an image.
    """

    whole: AnnotatedSplit
    start: int
    stop: int

    def samples(self, hashes: HashFile) -> list[SourceSample]:
        """List the part; see `AnnotatedSplit.samples`."""
        listed = self.whole.samples(hashes)
        ranked = sorted(range(len(listed)), key=lambda i: digest(listed[i].sample_id.encode()))
        chosen = set(ranked[self.start : self.stop])
        return [sample for index, sample in enumerate(listed) if index in chosen]

    @property
    def read(self) -> Annotations:
        """The annotations of the whole folder."""
        return self.whole.read

    def evidence(self, hashes: HashFile) -> list[tuple[Located, FrameEvidence]]:
        """Give what tells the frame of each image of the whole folder."""
        return self.whole.evidence(hashes)

    def unlabelled(self) -> list[str]:
        """Name the images in the folder that the annotations do not list."""
        return self.whole.unlabelled()
