"""A split of a data set as the engine sees it: images with labels, each with digests and a verdict."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path

import numpy as np

from ocr.annotations import (
    PLAIN,
    AnnotatedImage,
    Annotations,
    LabelOptions,
    Remarks,
    Word,
    describe,
    image_files,
    read_remembered,
    words_digest,
)
from ocr.geometry import Points, upright_size
from ocr.preprocess import RawSample
from ocr.splits.header_cache import HeaderCache
from ocr.splits.image_names import ImageRoot, check_names, sample_id, with_separators
from ocr.splits.label_frames import FrameDecision, FrameEvidence, LabelFrame, compare_stated, decide_frames
from pipeline.collector import collector_paused
from pipeline.digest import digest
from pipeline.errors import ConfigError, Quarantine
from pipeline.planning import SourceSample

HashFile = Callable[[Path], bytes]


@dataclass(frozen=True, eq=False)
class LocatedImage:
    """An annotated image whose file is there: its sample id, path, digest of content, and labels."""

    sample_id: str
    path: Path
    digest: bytes
    labels: AnnotatedImage


def by_rank(ids: Iterable[str]) -> list[str]:
    """Sort sample ids by their digests; a sample's place is its rank."""
    return sorted(ids, key=lambda identity: digest(identity.encode()))


class AnnotatedSplit:
    """One split: a folder of images and an annotation file (or folder) in a known format.

    `label_frame` says in which frame the labels were drawn; with `auto` the headers of images that
    have polygons are read, and remembered in `header_cache`, as labels are in `label_memory`. The size that
    labels state is compared with the image's; `scale_labels` scales those that were drawn on a larger or
    smaller copy, which are refused otherwise. Nothing is read before it is asked for.

    With `part` the split is a part of the folder: the samples whose ranks lie in [start, stop), to the
    last one where stop is None. A sample's rank is its place when all are sorted by the digest of their
    ids: the same on every machine, spread over the set, and hardly moved by adding or removing an image.
    """

    def __init__(
        self,
        images: str | os.PathLike[str],
        annotations: str | os.PathLike[str],
        format: str = "auto",
        label_frame: LabelFrame = "auto",
        header_cache: Path | None = None,
        part: tuple[int, int | None] | None = None,
        options: LabelOptions = PLAIN,
        scale_labels: bool = False,
        label_memory: Path | None = None,
    ) -> None:
        self.images = Path(images)
        self.annotations = Path(annotations)
        self.format = format
        self.label_frame = label_frame
        self.options = options
        self.scale_labels = scale_labels
        self._header_cache = header_cache
        self._label_memory = label_memory
        self._part = part
        self._placed = Remarks()

    def samples(self, hashes: HashFile) -> list[SourceSample]:
        """List every annotated image in the annotation's order, accepted or with a verdict.

        `hashes` digests a file's content (16 bytes). An image that is listed twice is one sample, and
        refused. Images without labels are no samples: see `unlabelled`. Raises `ConfigError` where a
        path leads nowhere or nothing is listed, `AnnotationError` where the annotations as a whole
        cannot be understood.
        """
        with collector_paused():
            listed = self.locate(hashes)
            found = [image for image in listed.values() if isinstance(image, LocatedImage)]
            placed = {sample.sample_id: sample for sample in self._place(found)}
            chosen = self._chosen(listed)
            return [
                placed[identity]
                if isinstance(image, LocatedImage)
                else SourceSample(identity, {}, None, image)
                for identity, image in listed.items()
                if identity in chosen
            ]

    def unlabelled(self) -> list[str]:
        """Name the images in the folder that the annotations do not list, sorted."""
        files = set(image_files(self.images, self.options.follow_links))
        return sorted(files.difference(sample_id(image.file) for image in self.read.images))

    @property
    def notes(self) -> tuple[str, ...]:
        """Remarks on the annotations, and on the sizes that they state once samples are listed."""
        return (*self.read.notes, *self._placed.told())

    @cached_property
    def read(self) -> Annotations:
        """The annotations as read, the backslashes of Windows in names of images as separators."""
        if not self.images.is_dir():
            raise ConfigError(
                f"there is no folder of images at {self.images}: check data.splits.<split>.images"
            )
        read = read_remembered(self._label_memory, self.annotations, self.images, self.format, self.options)
        if not read.images:
            raise ConfigError(f"{self.annotations} lists no image: check data.splits.<split>.annotations")
        images = tuple(
            replace(image, file=with_separators(image.file, self.images)) if "\\" in image.file else image
            for image in read.images
        )
        return replace(read, images=images)

    @property
    def labelled(self) -> tuple[AnnotatedImage, ...]:
        """The labels of the split's own images: with `part`, of those only that are in it."""
        own = self._chosen(dict.fromkeys(sample_id(image.file) for image in self.read.images))
        return tuple(image for image in self.read.images if sample_id(image.file) in own)

    def locate(self, hashes: HashFile) -> dict[str, LocatedImage | Quarantine]:
        """Find and digest the images, in order, by sample id; a verdict where one cannot be used."""
        refused = check_names(image.file for image in self.read.images)
        # Absolute: a worker on another machine may work in another folder.
        root = ImageRoot(self.images.absolute(), self.options.follow_links)
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
        root.check_mounted()
        return listed

    def evidence(self, hashes: HashFile) -> list[tuple[LocatedImage, FrameEvidence]]:
        """Give, for `inspect --frames`, each image that can be read and what tells its frame."""
        found = [image for image in self.locate(hashes).values() if isinstance(image, LocatedImage)]
        return [
            (image, evidence)
            for image, evidence in zip(found, self._evidence(found, always=True), strict=True)
            if evidence is not None
        ]

    def _chosen(self, listed: Mapping[str, object]) -> Collection[str]:
        """Name the samples of the split: all, or those of its ranks."""
        if self._part is None:
            return listed
        return set(by_rank(listed)[slice(*self._part)])

    def _bad_labels(self, labels: AnnotatedImage) -> Quarantine | None:
        """Refuse labels with problems; files are named relative to the annotations, wherever these lie."""
        if not labels.problems:
            return None
        folder = self.annotations.parent
        problems = tuple(replace(p, file=os.path.relpath(p.file, folder)) for p in labels.problems)
        return Quarantine("bad_annotation", describe(problems, shown=5))

    def _place(self, found: Sequence[LocatedImage]) -> Iterator[SourceSample]:
        """Compare the sizes that labels state, decide the frames, and give the samples."""
        self._placed = Remarks()
        kept: list[tuple[LocatedImage, FrameEvidence | None, str]] = []
        for image, seen in zip(found, self._evidence(found), strict=True):
            try:
                kept.append((image, None, "") if seen is None else self._compare(image, seen))
            except Quarantine as verdict:
                yield SourceSample(image.sample_id, {}, None, verdict)
        decided = iter(decide_frames([seen for _, seen, _ in kept if seen is not None], self.label_frame))
        # Without a header the stage will refuse the image, with the reason; the frame does not matter.
        unread = FrameDecision("upright", "unread")
        if self.label_frame != "auto":
            unread = FrameDecision(self.label_frame, "declared")
        for image, seen, scaled in kept:
            decision = unread if seen is None else next(decided)
            yield _accepted(image, replace(decision, rule=decision.rule + scaled) if scaled else decision)

    def _compare(self, image: LocatedImage, seen: FrameEvidence) -> tuple[LocatedImage, FrameEvidence, str]:
        """Compare the stated size with the image, and scale the labels where that is asked for."""
        compared = compare_stated(seen)
        if compared is None:
            return image, seen, ""
        stated, size = compared
        other = {seen.size: "raw", upright_size(seen.size, seen.orientation): "upright"}
        if len(other) == 2 and self.label_frame not in ("auto", other[size]):
            self._placed.add(
                self.annotations.name,
                f"states sizes of the {other[size]} frame, and label_frame is {self.label_frame}",
            )
        if stated == size:
            return image, replace(seen, stated=size), ""
        drawn = f"labels drawn on {stated[1]} x {stated[0]} pixels, and the image has {size[1]} x {size[0]}"
        if not self.scale_labels:
            raise Quarantine("stated_size", f"{drawn}; data.splits.<split>.scale_labels=true scales labels")
        self._placed.add(
            self.annotations.name, "has labels drawn on a larger or smaller copy, which were scaled"
        )
        factors = np.array(size[::-1]) / stated[::-1]
        with np.errstate(all="ignore"):  # absurd coordinates are the repair's business
            words = tuple(replace(word, points=word.points * factors) for word in image.labels.words)
        scaled = replace(image, labels=replace(image.labels, words=words))
        return scaled, replace(seen, stated=size, polygons=_polygons(words)), " scaled"

    def _evidence(self, found: Sequence[LocatedImage], always: bool = False) -> list[FrameEvidence | None]:
        """Read the headers that are needed; None where a header cannot be read."""
        headers = HeaderCache(self._header_cache)
        evidence: list[FrameEvidence | None] = []
        for image in found:
            needed = always or self.label_frame == "auto" or image.labels.size is not None
            polygons = _polygons(image.labels.words) if needed else []
            try:
                if polygons or always:
                    frame = headers.read(image.path, image.digest)
                    evidence.append(FrameEvidence(*frame, polygons, image.labels.size))
                else:
                    evidence.append(FrameEvidence((0, 0), 1, polygons))
            except Quarantine:
                evidence.append(None)
        headers.save()
        return evidence


def _polygons(words: Sequence[Word]) -> list[Points]:
    return [word.points for word in words if len(word.points)]


@cache
def _frame_digest(decision: FrameDecision) -> bytes:
    return digest(f"{decision.frame} {decision.rule}".encode())


def _accepted(image: LocatedImage, decision: FrameDecision) -> SourceSample:
    if decision.frame == "unknown":
        return SourceSample(image.sample_id, {}, None, Quarantine("frame_unknown", decision.rule))
    inputs = {
        "image": image.digest,
        "annotation": words_digest(image.labels.words),
        "frame": _frame_digest(decision),
    }
    raw = RawSample(image.path, image.labels.words, decision.frame, decision.rule, image.digest)
    return SourceSample(image.sample_id, inputs, raw)
