"""From a raw sample to a canonical one: one frame, nothing lost, or a verdict."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from ocr.annotations import Word
from ocr.geometry import upright_points
from ocr.preprocess import Canonical, CanonicalParams, DecodeParams, RawSample, canonicalize, decode_upright
from pipeline.errors import Quarantine
from pipeline.stage import FileContent, Inputs
from stages import Canonicalize
from stages.canonicalize import upright_name
from tests.support import image_bytes as made

BOX = [(4.0, 2.0), (20.0, 2.0), (20.0, 10.0), (4.0, 10.0)]


def word(points: object = BOX, text: str = "total", ignore: bool = False) -> Word:
    return Word(np.array(points, dtype=np.float64).reshape(-1, 2), text, ignore)


def sample(folder: Path, data: bytes, **fields: object) -> RawSample:
    path = folder / "a.jpg"
    path.write_bytes(data)
    return RawSample(path, **fields)  # type: ignore[arg-type]


def verdict(raw: RawSample, **params: object) -> str:
    with pytest.raises(Quarantine) as caught:
        canonicalize(raw, CanonicalParams(**params))  # type: ignore[arg-type]
    assert caught.value.reason
    return caught.value.code


def test_an_upright_image_is_linked_and_not_read_further(tmp_path: Path) -> None:
    raw = sample(tmp_path, made.jpeg(), words=(word(), word(ignore=True, text="")))
    result = canonicalize(raw, CanonicalParams())
    assert (result.upright, result.link) == (raw.image.read_bytes(), raw.image)
    assert (result.size, result.orientation, result.transform) == ((32, 48), 1, "link")
    assert (result.frame, result.repairs) == ("upright declared", "")
    np.testing.assert_array_equal(result.points, [BOX, BOX])
    assert result.points[0].dtype == np.float32
    np.testing.assert_array_equal(result.ignore, np.array([0, 1], dtype=np.uint8))
    assert result.text == ("total", "")


def test_of_a_symbolic_link_the_file_behind_it_is_linked(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    behind = sample(tmp_path / "elsewhere", made.jpeg()).image
    (tmp_path / "b.jpg").symlink_to("elsewhere/a.jpg")
    assert canonicalize(RawSample(tmp_path / "b.jpg"), CanonicalParams()).link == behind.resolve()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_polygons_follow_the_image_from_the_raw_frame_and_stay_in_the_upright_one(
    tmp_path: Path, orientation: int
) -> None:
    data = made.with_exif(made.jpeg(), made.oriented(orientation))
    raw = canonicalize(sample(tmp_path, data, words=(word(),), frame="raw", rule="bounds"), CanonicalParams())
    assert raw.size == ((32, 48) if orientation < 5 else (48, 32))
    assert raw.frame == "raw bounds"
    np.testing.assert_array_equal(raw.points[0], upright_points(BOX, (32, 48), orientation))
    upright = canonicalize(sample(tmp_path, data, words=(word(),), frame="upright"), CanonicalParams())
    np.testing.assert_array_equal(upright.points[0], BOX)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_what_a_polygon_surrounds_stays_inside_it(exif_photos: Path, orientation: int) -> None:
    path = exif_photos / f"Landscape_{orientation}.jpg"
    upright_box = np.array([(300.0, 200.0), (900.0, 200.0), (900.0, 500.0), (300.0, 500.0)])
    raw_size = (1200, 1800) if orientation < 5 else (1800, 1200)
    inverse = {6: 8, 8: 6}.get(orientation, orientation)
    raw_box = upright_points(upright_box, (1200, 1800), inverse)
    result = canonicalize(RawSample(path, (word(raw_box),), "raw"), CanonicalParams())
    assert raw_box.max() <= max(raw_size)
    np.testing.assert_allclose(result.points[0], upright_box)
    image = decode_upright(result.upright, DecodeParams(canvas=(1200, 1800))).image
    first = (exif_photos / "Landscape_1.jpg").read_bytes()
    expected = decode_upright(first, DecodeParams(canvas=(1200, 1800))).image
    inside = (slice(None), slice(200, 500), slice(300, 900))
    assert np.abs(image[inside].astype(np.int16) - expected[inside]).mean() < 6


def test_repairs_happen_in_the_upright_frame(tmp_path: Path) -> None:
    data = made.with_exif(made.jpeg(), made.oriented(6))  # 48 wide and 32 high becomes 32 wide and 48 high
    words = (
        word([(0, 0), (48, 0), (48, 32), (0, 32)]),
        word([(np.inf, 0), (5, 0), (5, 5)]),
        word([(-10, 4), (20, 4), (20, 12), (-10, 12)]),
    )
    result = canonicalize(sample(tmp_path, data, words=words, frame="raw"), CanonicalParams())
    assert result.repairs == "not_finite@1 clipped@2"
    assert len(result.points) == len(result.ignore) == len(result.text) == 2
    assert {tuple(p) for p in result.points[0]} == {(0, 0), (32, 0), (32, 48), (0, 48)}
    assert result.points[1].min() >= 0


@pytest.mark.parametrize(
    ("data", "note"),
    [
        (made.with_exif(made.jpeg(), made.oriented(0)), "cleaned orientation_invalid"),
        (made.with_exif(made.jpeg(), b"garbage"), "cleaned exif_corrupt"),
        (made.with_exif(made.jpeg(), made.oriented(6), made.oriented(3)), "lossless exif_duplicate"),
        (made.with_exif(made.jpeg(made.picture(37, 53)), made.oriented(6)), "png"),
    ],
)
def test_what_was_not_plain_is_noted(tmp_path: Path, data: bytes, note: str) -> None:
    assert canonicalize(sample(tmp_path, data), CanonicalParams()).transform == note


LARGE = made.jpeg(made.picture(64, 96), quality=95)
CUT = LARGE[: int(len(LARGE) * 0.7)]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "empty"),
        (b"no image", "unsupported_format"),
        (made.with_size(made.jpeg(), 65500, 65500), "too_many_pixels"),
        (made.scan_bomb(200), "too_many_scans"),
        (CUT, "truncated"),
        (made.twelve_bits(made.jpeg()), "unsupported_jpeg"),
        (made.with_exif(made.with_damaged_scan(LARGE), made.oriented(6)), "corrupt"),
    ],
)
def test_bad_images_get_a_verdict(tmp_path: Path, data: bytes, code: str) -> None:
    raw = sample(tmp_path, data)
    for _ in range(2):
        assert verdict(raw) == code


def test_damage_inside_a_scan_is_found_here_on_request_and_by_decode_in_any_case(tmp_path: Path) -> None:
    raw = sample(tmp_path, made.with_damaged_scan(LARGE))
    assert verdict(raw, integrity="full") == "corrupt"
    accepted = canonicalize(raw, CanonicalParams())
    with pytest.raises(Quarantine, match="corrupt"):
        decode_upright(accepted.upright, DecodeParams())


@pytest.mark.parametrize("orientation", [1, 6])
def test_accepted_damage_is_recorded(tmp_path: Path, orientation: int) -> None:
    raw = sample(tmp_path, made.with_exif(CUT, made.oriented(orientation)))
    result = canonicalize(raw, CanonicalParams(on_corrupt="accept"))
    made_by, *notes = result.transform.split()
    assert made_by == ("link" if orientation == 1 else "lossless")
    assert notes[0].startswith("accepted_truncated@")
    assert result.size == ((64, 96) if orientation == 1 else (96, 64))


def test_what_is_no_readable_file_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    assert verdict(RawSample(tmp_path / "missing.jpg")) == "unreadable_image"
    assert verdict(RawSample(tmp_path)) == "unreadable_image"
    os.mkfifo(tmp_path / "pipe.jpg")
    assert verdict(RawSample(tmp_path / "pipe.jpg")) == "unreadable_image"
    assert verdict(RawSample(Path("/dev/zero"))) == "unreadable_image"


def test_a_file_over_the_limit_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.jpg"
    with path.open("wb") as file:
        file.truncate(2**40)  # a hole: a terabyte that takes no room
    assert verdict(RawSample(path)) == "too_many_bytes"


def test_what_comes_out_of_canonicalize_is_upright_for_decode(tmp_path: Path) -> None:
    for index, (orientation, keep) in enumerate((o, k) for o in range(1, 9) for k in (False, True)):
        (tmp_path / str(index)).mkdir()
        raw = sample(
            tmp_path / str(index), made.with_exif(made.jpeg(made.picture(37, 53)), made.oriented(orientation))
        )
        result: Canonical = canonicalize(raw, CanonicalParams(keep_metadata=keep))
        decoded = decode_upright(result.upright, DecodeParams(canvas=result.size))
        np.testing.assert_array_equal(decoded.matrix, np.eye(3))


def test_the_stage_gives_what_it_declares(tmp_path: Path) -> None:
    raw = sample(
        tmp_path, made.with_exif(made.jpeg(), made.oriented(6)), words=(word(text="Σ 1,00 €"), word(text=""))
    )
    stage = Canonicalize(min_inside=0.5)
    values = stage.compute(Inputs("deep/a.jpg", raw, {}))
    assert list(values) == [field.name for field in stage.fields()]
    assert values["upright"] == FileContent("deep/a.jpg", values["upright"].data, None)
    np.testing.assert_array_equal(values["size"], np.array([48, 32], dtype=np.int32))
    assert [text.tobytes().decode() for text in values["text"]] == ["Σ 1,00 €", ""]
    assert all(text.dtype == np.uint8 for text in values["text"])
    assert values["orientation"].dtype == np.uint8
    assert set(stage.libraries()) == {"libjpeg-turbo", "Pillow", "GEOS"}


def test_no_two_samples_share_the_name_of_an_upright_file() -> None:
    names = ["a.jpg", "a.png", "a.jpg.upright.png", "a.jpg.upright.png.upright.png", "a"]
    for made_png in ([False] * 5, [True] * 5, [True, False, True, False, True]):
        given = [upright_name(name, flag) for name, flag in zip(names, made_png, strict=True)]
        assert len(set(given)) == len(names)
    assert upright_name("a.jpg", made_png=False) == "a.jpg"
    assert upright_name("a.jpg", made_png=True) == "a.jpg.upright.png"


def test_a_name_without_room_for_a_suffix_is_shortened_to_one_of_its_own() -> None:
    names = [f"sub/{'票' * 80}{end}.jpg" for end in ("ab", "cd", "efghi")] + ["x" * 244, "y" * 255, "z" * 243]
    short = [upright_name(name, made_png=True) for name in names]
    assert all(
        len(name.rpartition("/")[2].encode()) <= 255 and name.endswith(".upright.png") for name in short
    )
    assert short[-1] == names[-1] + ".upright.png"
    assert all(name.startswith("sub/票票") for name in short[:3])
    looks_short = [name.removesuffix(".upright.png") for name in short[:5]]  # samples that are called so
    given = [*short, *(upright_name(name, made_png=True) for name in looks_short)]
    assert len(set(given)) == len(given)
    assert [upright_name(name, made_png=False) for name in names] == names
