"""The page: one file that asks nothing of a network, escapes what is untrusted, and stays small."""

from __future__ import annotations

import base64
import hashlib
import io
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.store import open_store
from tests.report.conftest import NAME, TEXT
from tests.support.shell import Shell
from warmstore.report import Content, map_pictures, picture, stored_image


class Parsed(HTMLParser):
    """The elements of a page, with their attributes, and its text."""

    VOID = frozenset({"meta", "link", "img", "input", "br"})

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text: dict[str, str] = {}
        self.feed(path.read_text(encoding="utf-8"))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        if self.open:
            self.text[self.open[-1]] = self.text.get(self.open[-1], "") + data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def parsed(page: Path) -> Parsed:
    found = Parsed(page)
    assert not found.open
    return found


def test_nothing_is_loaded_from_anywhere(parsed: Parsed) -> None:
    loads = [
        value
        for _, attributes in parsed.elements
        for name, value in attributes.items()
        if name in ("src", "href", "srcset", "action", "data")
        and value
        and not value.startswith(("#", "data:"))
    ]
    assert loads == []
    assert not re.search(
        r"@import|url\(|fetch\(|XMLHttpRequest|WebSocket", parsed.text["style"] + parsed.text["script"]
    )
    (policy,) = (m["content"] for m in parsed.all("meta") if m.get("http-equiv") == "Content-Security-Policy")
    digest = base64.b64encode(hashlib.sha256(parsed.text["script"].encode()).digest()).decode()
    assert policy and policy.startswith("default-src 'none'; img-src data:;")
    assert f"script-src 'sha256-{digest}'" in policy


def test_names_and_texts_are_escaped(parsed: Parsed) -> None:
    assert len(parsed.all("script")) == 1
    assert not [name for _, attributes in parsed.elements for name in attributes if name.startswith("on")]
    assert TEXT in parsed.text["title"]
    assert NAME in parsed.text["span"]
    assert any(NAME in (image["alt"] or "") for image in parsed.all("img"))


def test_every_part_can_be_reached_and_is_named(parsed: Parsed) -> None:
    ids = Counter(a["id"] for _, a in parsed.elements if "id" in a)
    assert max(ids.values()) == 1
    for link in parsed.all("a"):
        assert (link["href"] or "")[1:] in ids
    for tag in ("header", "nav", "main", "footer"):
        assert len(parsed.all(tag)) == 1
    for section in parsed.all("section"):
        assert section["aria-labelledby"] in ids
    assert all("alt" in image for image in parsed.all("img"))
    assert all(
        chart["role"] == "img" and chart["aria-label"] for chart in parsed.all("svg") if "role" in chart
    )
    assert parsed.all("html")[0]["lang"] == "en"


def test_quarantined_images_are_shown_as_far_as_they_go(parsed: Parsed, page: Path) -> None:
    (cut,) = (i for i in parsed.all("img") if i["alt"] == "What can be seen of receipt-00000.jpg")
    with Image.open(io.BytesIO(base64.b64decode((cut["src"] or "").partition(",")[2]))) as shown:
        rows = np.asarray(shown.convert("L")).std(axis=1)
        assert shown.size == (244, 295) and rows[: len(rows) // 8].max() > 1
    text = page.read_text()
    assert "nothing can be seen of it: there is no such file" in text
    assert "truncated" in text and "missing_image" in text


def test_commands_work_for_the_run_that_is_reported_on(page: Path) -> None:
    commands = re.findall(r"<code>(\S*warmstore [^<]*|\S+ -m warmstore [^<]*)</code>", page.read_text())
    assert len(commands) == 2 and all("--config tiny" in command for command in commands)


def test_the_gallery_has_every_sample_with_its_maps(parsed: Parsed, reported: Shell) -> None:
    samples = sum(len(open_store(reported.folder / f"work/tiny/{s}/tensors.zarr")) for s in ("train", "val"))
    cards = [figure for figure in parsed.all("figure") if figure.get("class") == "card"]
    maps = Counter(image.get("class") for image in parsed.all("img"))
    assert len(cards) == samples == maps["map prob_map"] == maps["map thresh_map"]
    flags = {flag for card in cards for flag in (card["data-flags"] or "").split("|")}
    assert {"worst", "repaired", "duplicate"} <= flags


@pytest.mark.parametrize("dtype", ["uint8", "float16", "bfloat16", "float32"])
def test_pictures_show_the_stored_pixels_whatever_their_type(reported: Shell, dtype: str) -> None:
    typed = (f"stages.tensors.dtype={dtype}", f"work_dir=types/{dtype}")
    assert reported("run", "--split", "val", *typed).returncode == 0
    folder = reported.folder / "types" / dtype / "val"
    image = stored_image(open_store(folder / "tensors.zarr"), 0)
    decoded = open_store(folder / "decode.zarr").value("image", 0)
    assert np.abs(image.astype(int) - decoded).max() <= (0 if dtype == "uint8" else 3)
    assert reported("report", "--split", "val", *typed, "--output", f"{dtype}.html").returncode == 0


@pytest.mark.parametrize("most", [3_000, 14_000, 60_000])
def test_a_picture_fits_its_share_of_the_page(most: int) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (3, 640, 400), np.uint8)
    data = picture(noise, 640, most)
    assert len(data) <= most or max(Image.open(io.BytesIO(data)).size) == 128


def test_overlays_lie_where_the_maps_do() -> None:
    kernels = np.zeros((1, 64, 48), np.uint8)
    kernels[0, 10:20, 5:30] = 1
    heights = np.where(kernels, 0.7, 0.3).astype(np.float16)
    for data in map_pictures({"prob_map": kernels, "thresh_map": heights}).values():
        alpha = np.asarray(Image.open(io.BytesIO(data)).convert("RGBA"))[..., 3]
        np.testing.assert_array_equal(alpha > 0, kernels[0] > 0)
    flat = map_pictures({"prob_map": kernels * 0, "thresh_map": heights * 0 + np.float16(0.3)})
    assert all(
        not np.asarray(Image.open(io.BytesIO(data)).convert("RGBA"))[..., 3].any() for data in flat.values()
    )


def test_the_padding_is_left_out() -> None:
    matrix = np.array([[0.5, 0, 10], [0, 0.5, 4], [0, 0, 1.0]])
    content = Content.of(matrix, (40, 20), (64, 64))
    assert (content.left, content.top, content.right, content.bottom) == (10, 4, 20, 24)
    assert content.spell(np.array([[10.0, 4.0], [20.25, 24.0]])) == "0.0,0.0 10.2,20.0"
