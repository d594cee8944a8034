"""COCO, COCO-Text, TextOCR and AdelaiDet: images and annotations apart, joined by `image_id`.

COCO has lists `images` and `annotations`, COCO-Text and TextOCR have objects `imgs` and `anns`. A place is
`segmentation` (a list of polygons, each a word of its own; run-length masks are not read), `mask`,
`polygon`, `polys` or `points` (`[x1, y1, x2, y2, …]`), otherwise `bbox` (`[left, top, width, height]`),
turned by CVAT's `attributes.rotation` (degrees, clockwise). A text is `utf8_string`, `text` or
`transcription`. Not counted are `iscrowd`, `ignore`, `difficult`, the legibility `illegible`, and
TextOCR's `.`. `attributes`, where CVAT puts what its users define, is looked through for texts and flags too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ocr.annotations.documents import read_json
from ocr.annotations.labels import Labels, keys
from ocr.annotations.primitives import (
    box_points,
    by_number,
    is_outline,
    read_box,
    read_flag,
    read_flat_points,
    read_size,
    read_text,
)
from ocr.annotations.problems import AnnotationError, Problems, failure, show
from ocr.annotations.words import AnnotatedImage, Word
from ocr.geometry import Points
from pipeline.errors import ConfigError

Located = tuple[str, str | int, Any]  # the list (or object), the index (or key) in it, and the value there

TEXTS = ("utf8_string", "text", "transcription")
FLAGS = ("iscrowd", "ignore", "difficult", "illegible", "illegibility")
OUTLINES = ("segmentation", "mask", "polygon", "polys", "points")
# Keys that are read; and behind the bar, those that are known to change nothing.
DOCUMENT = keys("images annotations imgs anns categories cats") | keys(
    "info licenses type imgToAnns imgsToAnns img2Anns"
)
IMAGE = keys("id file_name height width set") | keys(
    "license license_id flickr_url coco_url date_captured path dataset_id"
)
CATEGORY = keys("id name") | keys("supercategory keypoints skeleton color isthing")
ANNOTATION = keys("id image_id category_id bbox attributes legibility rotation").union(
    OUTLINES, TEXTS, FLAGS
) | keys("area language class")
ATTRIBUTES = keys("rotation legibility").union(TEXTS, FLAGS) | keys("occluded track_id keyframe")


def read(labels: Labels) -> Iterator[AnnotatedImage]:
    """Read a COCO file. What names no image of the file fails it, after all was seen."""
    path, document = labels.path, read_json(labels.path, labels)
    listed = _entries(document, labels, "images", "imgs")
    annotations = sorted(_entries(document, labels, "annotations", "anns"), key=_order)
    labels.unread("", document, DOCUMENT)
    adrift = Problems(str(path))
    by_image: dict[str, list[Located]] = {
        identity: [] for identity in (_identity(entry, "id", adrift) for entry in listed) if identity
    }
    if len(by_image) < len(listed) and not adrift.found():
        adrift.add((listed[0][0],), "each id once", f"{len(listed) - len(by_image)} ids again")
    for annotation in annotations:
        identity = _identity(annotation, "image_id", adrift)
        if identity in by_image:
            by_image[identity].append(annotation)
        elif identity:
            adrift.add((*annotation[:2], "image_id"), "the id of an image", identity)
    for entry in listed:
        if not isinstance(entry[2], dict) or not isinstance(entry[2].get("file_name"), str):
            adrift.add(entry[:2], "an object with file_name", entry[2])
    if adrift.found():
        raise AnnotationError(adrift.found())
    names = _category_names(document, labels)
    for entry in _of_subset(listed, labels):
        labels.unread(f"{entry[0]}[].", entry[2], IMAGE)
        chosen = _of_categories(by_image[_identity(entry, "id", adrift)], names, labels)
        yield _image(labels, entry[2], chosen)
    _tell_categories(annotations, names, labels)


def _entries(document: Any, labels: Labels, *names: str) -> list[Located]:
    for name in names:
        value = document.get(name) if isinstance(document, dict) else None
        if isinstance(value, list):
            return [(name, index, entry) for index, entry in enumerate(value)]
        if isinstance(value, dict):
            return [(name, key, entry) for key, entry in value.items()]
    raise failure(labels.path, f"$.{names[0]}", "a list (or the object of COCO-Text)", show(document))


def _order(entry: Located) -> tuple[bool, int, str]:
    """Keep the order of a list; put the entries of an object, whose order means nothing, by their keys."""
    return by_number(entry[1]) if isinstance(entry[1], str) else (False, entry[1], "")


def _identity(entry: Located, key: str, problems: Problems) -> str:
    """Give an id as text, since COCO-Text has numbers here, texts there; empty, and reported, without one."""
    value = entry[2].get(key) if isinstance(entry[2], dict) else None
    if value is None and key == "id" and isinstance(entry[1], str):
        return entry[1]
    if type(value) is int or (isinstance(value, str) and value):
        return str(value)
    problems.add((*entry[:2], key), "an id", value)
    return ""


def _of_subset(listed: list[Located], labels: Labels) -> list[Located]:
    """Take the images of the split's `set` where the file holds several."""
    sets = Counter(str(entry[2].get("set")) for entry in listed if entry[2].get("set") is not None)
    asked = labels.options.subset
    wanted = asked or labels.options.split
    if asked == "*" or (not asked and (wanted not in sets or len(sets) < 2)):
        if len(sets) > 1 and asked is None:
            labels.remark(
                f"holds images of the sets {_counted(sets)}; data.splits.<split>.subset takes one of them"
            )
        return listed
    if wanted not in sets:
        raise ConfigError(f"{labels.path} has no set {wanted!r} (subset), but {_counted(sets) or 'none'}")
    labels.remark(f"holds images of the sets {_counted(sets)}; those of {wanted} were taken (subset)")
    return [entry for entry in listed if str(entry[2].get("set")) == wanted]


def _category_names(document: dict[str, Any], labels: Labels) -> dict[str, str]:
    listed = document.get("categories") or document.get("cats") or []
    entries = listed.values() if isinstance(listed, dict) else listed if isinstance(listed, list) else []
    names = {}
    for entry in entries:
        if isinstance(entry, dict) and isinstance(entry.get("id"), int | str):
            labels.unread("categories[].", entry, CATEGORY)
            names[str(entry["id"])] = str(entry.get("name"))
        else:
            labels.remark("has categories without an id, which are not read")
    return names


def _category(annotation: Located, names: dict[str, str]) -> str:
    identity = annotation[2].get("category_id")
    return names.get(str(identity), f"id {identity}") if isinstance(identity, int | str) else "none"


def _of_categories(annotations: list[Located], names: dict[str, str], labels: Labels) -> list[Located]:
    wanted = labels.options.categories
    return [a for a in annotations if wanted is None or _category(a, names) in wanted]


def _tell_categories(annotations: list[Located], names: dict[str, str], labels: Labels) -> None:
    """Say what becomes a word where annotations are of several categories."""
    found = Counter(_category(annotation, names) for annotation in annotations)
    wanted = labels.options.categories
    if missing := sorted(set(wanted or ()) - found.keys() - set(names.values())):
        raise ConfigError(f"{labels.path} has no category {missing[0]!r}, but {_counted(found) or 'none'}")
    if len(found.keys() | set(names.values())) > 1:
        taken = "all of them are" if wanted is None else f"those of {', '.join(wanted)} are"
        labels.remark(f"has annotations of the categories {_counted(found)}; {taken} words (categories)")


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.most_common(8))


def _image(labels: Labels, entry: dict[str, Any], annotations: list[Located]) -> AnnotatedImage:
    problems = Problems(str(labels.path))
    words = [word for annotation in annotations for word in _words(annotation, labels, problems)]
    size = read_size(entry.get("height"), entry.get("width"))
    return AnnotatedImage(entry["file_name"], tuple(words), size, problems.found())


def _words(annotation: Located, labels: Labels, problems: Problems) -> Iterator[Word]:
    *where, value = annotation
    labels.unread(f"{where[0]}[].", value, ANNOTATION)
    attributes = value.get("attributes")
    if attributes and isinstance(attributes, dict):
        labels.unread(f"{where[0]}[].attributes.", attributes, ATTRIBUTES)
        for key in sorted(ATTRIBUTES & attributes.keys() & value.keys()):
            if attributes[key] != value[key]:
                problems.add((*where, "attributes", key), f"what {key} beside it says", attributes[key])
        value = {**attributes, **value}
    text = ""
    for key in TEXTS:
        if key in value:
            text = text or read_text(value[key], problems, *where, key)
    ignore = value.get("legibility") == "illegible" or ("points" in value and text == ".")
    for key in FLAGS:
        if key in value:
            ignore |= read_flag(value[key], problems, *where, key)
    if value.get("iscrowd") == 1:
        labels.remark("has annotations with iscrowd, which are not counted (ignore)")
    for points in places((*annotation[:2], value), labels, problems):
        yield Word(points, text, ignore)


def image_names(labels: Labels) -> dict[str, str]:
    """Give the names of a file's images by their ids, as text."""
    listed = _entries(read_json(labels.path, labels), labels, "images", "imgs")
    named = [entry for entry in listed if isinstance(entry[2], dict) and "file_name" in entry[2]]
    return {_identity(entry, "id", Problems("")): str(entry[2]["file_name"]) for entry in named}


def places(annotation: Sequence[Any], labels: Labels, problems: Problems) -> list[Points]:
    """Give the outlines of an annotation, or its box where no field holds an outline."""
    *where, value = annotation
    short: list[Any] = []
    for key in OUTLINES:
        outlines = value.get(key)
        if not isinstance(outlines, list):
            if isinstance(outlines, dict):
                labels.remark(f"has run-length masks in {key}, which are not read: the bbox was taken")
            elif outlines is not None:
                problems.add((*where, key), "a list of coordinates", outlines)
            continue
        parts = outlines if outlines and isinstance(outlines[0], list) else [outlines]
        if good := [
            index for index, part in enumerate(parts) if is_outline(part) or not isinstance(part, list)
        ]:
            if len(good) < len(parts):
                labels.remark(f"has {key} of which some parts are no outline and were left out")
            nested = parts is outlines
            read = [read_flat_points(parts[i], problems, *where, key, *([i] if nested else [])) for i in good]
            if len(read) != 1 or not _is_unturned(read[0], value):
                return read
            continue
        if outlines:
            labels.remark(f"has {key} that is no outline and was passed over")
            short += parts
    if value.get("bbox") is not None:
        left, top, width, height = read_box(value["bbox"], problems, *where, "bbox")
        return [_turned(box_points(left, top, left + width, top + height), value, problems, where)]
    if len(short) == 1 and len(short[0]) >= 4:
        return [read_flat_points(short[0], problems, *where)]
    problems.add(tuple(where), "a polygon or bbox", value)
    return []


def _is_unturned(points: Points, value: dict[str, Any]) -> bool:
    """Whether an outline is but the box, which is to be turned."""
    if not value.get("rotation") or value.get("bbox") is None:
        return False
    left, top, width, height = read_box(value["bbox"], Problems(""))
    corners = box_points(left, top, left + width, top + height)
    return set(map(tuple, points.tolist())) == set(map(tuple, corners.tolist()))


@np.errstate(all="ignore")  # coordinates may be absurd, or none
def _turned(box: Points, value: dict[str, Any], problems: Problems, where: list[Any]) -> Points:
    """Turn a box about its centre, clockwise, as CVAT means `attributes.rotation`."""
    degrees = value.get("rotation") or 0
    if type(degrees) not in (int, float):
        problems.add((*where, "attributes", "rotation"), "degrees", degrees)
    if not degrees or type(degrees) not in (int, float):
        return box
    angle, centre = np.deg2rad(degrees), box.mean(axis=0)
    sine, cosine = np.sin(angle), np.cos(angle)
    return np.asarray((box - centre) @ np.array([[cosine, sine], [-sine, cosine]]) + centre)
