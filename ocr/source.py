"""A split of a data set as the engine sees it: images with labels, each with digests and a verdict."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import xxhash

from ocr.annotations import AnnotatedImage, Annotations, read_annotations, words_digest
from ocr.annotations.documents import collector_paused
from ocr.annotations.folders import image_files
from ocr.annotations.problems import describe
from ocr.canonical import RawSample
from ocr.frames import FrameDecision, FrameEvidence, LabelFrame, decide_frames
from ocr.header_cache import HeaderCache
from ocr.paths import ImageRoot, check_names, sample_id
from pipeline.digest import digest
from pipeline.errors import ConfigError, Quarantine
from pipeline.source import SourceSample

HashFile = Callable[[Path], bytes]


@dataclass(frozen=True, eq=False)
class LocatedImage:
    """An annotated image whose file is there: its sample id, path, digest of content, and labels."""

    sample_id: str
    path: Path
    digest: bytes
    labels: AnnotatedImage


class AnnotatedSplit:
    """One split: a folder of images and an annotation file (or folder) in a known format.

    `label_frame` says in which frame the labels were drawn; with `auto` the headers of images that
    have polygons are read, and remembered in `header_cache`. Nothing is read before it is asked for.

    With `ranks` the split is a part of the folder: the samples whose ranks lie in [start, stop). A
    sample's rank is its place when all are sorted by the digest of their ids: the same on every machine,
    spread over the set, and hardly moved by adding or removing an image.
    """

    def __init__(
        self,
        images: Path,
        annotations: Path,
        format: str = "auto",
        label_frame: LabelFrame = "auto",
        header_cache: Path | None = None,
        ranks: tuple[int, int] | None = None,
    ) -> None:
        self.images = images
        self.annotations = annotations
        self.format = format
        self.label_frame = label_frame
        self._header_cache = header_cache
        self._ranks = ranks

    def samples(self, hashes: HashFile) -> list[SourceSample]:
        """List every annotated image in the annotation's order, accepted or with a verdict.

        `hashes` digests a file's content (16 bytes). An image that is listed twice is one sample, and
        refused. Images without labels are no samples: see `unlabelled`. Raises `ConfigError` where a
        path leads nowhere or nothing is listed, `AnnotationError` where the annotations as a whole
        cannot be understood.
        """
        with collector_paused():
            listed = self._locate(hashes)
            found = [image for image in listed.values() if isinstance(image, LocatedImage)]
            frames = dict(zip((image.sample_id for image in found), self._frames(found), strict=True))
            chosen = self._chosen(listed)
            return [
                _accepted(image, frames[identity])
                if isinstance(image, LocatedImage)
                else SourceSample(identity, {}, None, image)
                for identity, image in listed.items()
                if identity in chosen
            ]

    def unlabelled(self) -> list[str]:
        """Name the images in the folder that the annotations do not list, sorted."""
        return sorted(set(image_files(self.images)).difference(sample_id(i.file) for i in self.read.images))

    @cached_property
    def read(self) -> Annotations:
        """The annotations as read; `problems` and `notes` are in it."""
        if not self.images.is_dir():
            raise ConfigError(
                f"there is no folder of images at {self.images}: check data.splits.<split>.images"
            )
        annotations = read_annotations(self.annotations, self.images, self.format)
        if not annotations.images:
            raise ConfigError(f"{self.annotations} lists no image: check data.splits.<split>.annotations")
        return annotations

    def evidence(self, hashes: HashFile) -> list[tuple[LocatedImage, FrameEvidence]]:
        """Give, for `inspect --frames`, each image that can be read and what tells its frame."""
        found = [image for image in self._locate(hashes).values() if isinstance(image, LocatedImage)]
        return [
            (image, evidence)
            for image, evidence in zip(found, self._evidence(found, always=True), strict=True)
            if evidence is not None
        ]

    def _chosen(self, listed: Mapping[str, object]) -> Collection[str]:
        """Name the samples of the split: all, or those of its ranks."""
        if self._ranks is None:
            return listed
        ranked = sorted(listed, key=lambda identity: digest(identity.encode()))
        return set(ranked[slice(*self._ranks)])

    def _locate(self, hashes: HashFile) -> dict[str, LocatedImage | Quarantine]:
        """Find and digest the images, in order; by sample id."""
        refused = check_names(image.file for image in self.read.images)
        root = ImageRoot(self.images)
        listed: dict[str, LocatedImage | Quarantine] = {}
        for labels in self.read.images:
            identity = sample_id(labels.file)
            verdict = refused.get(identity) or self._bad_labels(labels)
            if verdict is None:
                try:
                    path = root.locate(identity)
                    listed[identity] = LocatedImage(identity, path, hashes(path), labels)
                except Quarantine as quarantine:
                    verdict = quarantine
                except (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError) as error:
                    verdict = Quarantine("unreadable_image", f"{identity}: {error.strerror}")
            if verdict is not None:
                listed[identity] = verdict
        return listed

    def _bad_labels(self, labels: AnnotatedImage) -> Quarantine | None:
        """Refuse labels with problems; files are named relative to the annotations, wherever these lie."""
        if not labels.problems:
            return None
        folder = self.annotations.parent
        problems = tuple(replace(p, file=os.path.relpath(p.file, folder)) for p in labels.problems)
        return Quarantine("bad_annotation", describe(problems, shown=5))

    def _frames(self, found: Sequence[LocatedImage]) -> list[FrameDecision]:
        if self.label_frame != "auto":
            return [FrameDecision(self.label_frame, "declared")] * len(found)
        evidence = self._evidence(found)
        decided = iter(decide_frames([image for image in evidence if image is not None]))
        # Without a header the stage will refuse the image, with the reason; the frame does not matter.
        return [FrameDecision("upright", "unread") if image is None else next(decided) for image in evidence]

    def _evidence(self, found: Sequence[LocatedImage], always: bool = False) -> list[FrameEvidence | None]:
        """Read the headers that are needed; None where a header cannot be read."""
        headers = HeaderCache(self._header_cache)
        evidence: list[FrameEvidence | None] = []
        for image in found:
            polygons = [word.points for word in image.labels.words if len(word.points)]
            try:
                if polygons or always:
                    size, orientation = headers.read(image.path, image.digest)
                else:
                    size, orientation = (0, 0), 1
                evidence.append(FrameEvidence(size, orientation, polygons, image.labels.size))
            except (Quarantine, OSError):
                evidence.append(None)
        headers.save()
        return evidence


def _accepted(image: LocatedImage, decision: FrameDecision) -> SourceSample:
    if decision.frame == "unknown":
        return SourceSample(image.sample_id, {}, None, Quarantine("frame_unknown", decision.rule))
    inputs = {
        "image": image.digest,
        "annotation": words_digest(image.labels.words),
        "frame": xxhash.xxh3_128_digest(f"{decision.frame} {decision.rule}".encode()),
    }
    raw = RawSample(image.path, image.labels.words, decision.frame, decision.rule, image.digest)
    return SourceSample(image.sample_id, inputs, raw)
