"""Dialects of text labels: told by all lines of a folder, as the projects that write them document them."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocr.annotations import Annotations, read_annotations
from pipeline.errors import ConfigError
from tests.support.labels import lay_out

POLYGON = "20,40,60,20,100,40,100,80,60,60,20,80"
ARC = ",".join(f"{100 + 30 * i},{200 - 4 * i * (6 - i)}" for i in range(7))
ARC += "," + ",".join(f"{280 - 30 * i},{240 - 4 * i * (6 - i)}" for i in range(7))
QUAD = "110,144,383,144,383,163,110,163"
OFFSETS = "100,50,200,90," + ",".join(["0,0,100,0,100,40,0,40", *["50,0"] * 10])


def read_lines(folder: Path, *files: str, format: str = "auto") -> Annotations:
    texts = {f"gt/{i}.txt": text.encode() for i, text in enumerate(files)}
    return read_annotations(lay_out(folder, texts) / "gt", folder, format)


def words(read: Annotations) -> list[tuple[int, str, bool]]:
    return [(len(word.points), word.text, word.ignore) for image in read.images for word in image.words]


# Lines as the projects write them: the format, and of each word the points, the text, the flag.
DOCUMENTED = {
    "ICDAR 2015": (
        (f"{QUAD},Genaxis Theatre\n{QUAD},###",),
        "icdar",
        [(4, "Genaxis Theatre", False), (4, "###", True)],
    ),
    "SROIE, texts like numbers": (
        (f"{QUAD},1,234.00\n{QUAD},12, JALAN TAMPOI 7/4", f"{QUAD},2,305.80 SR\n{QUAD},9.00\n{QUAD},1"),
        "icdar",
        [(4, t, False) for t in ("1,234.00", "12, JALAN TAMPOI 7/4", "2,305.80 SR", "9.00", "1")],
    ),
    "Total-Text of DB": (
        (f"{POLYGON},CURVED\n{QUAD},straight\n{QUAD},###", f"{POLYGON},###\n{POLYGON},#"),
        "icdar_polygon",
        [(6, "CURVED", False), (4, "straight", False), (4, "###", True), (6, "###", True), (6, "#", True)],
    ),
    "a polygon whose text begins with a number": (
        (f"{POLYGON},1998\n{ARC},7,up\n{POLYGON},a",),
        "icdar_polygon",
        [(6, "1998", False), (14, "7,up", False), (6, "a", False)],
    ),
    "CTW1500, 14 points": (
        (f"{ARC},####Latin 9\n{ARC},#######",),
        "icdar_polygon",
        [(14, "Latin 9", False), (14, "###", True)],
    ),
    "SCUT-CTW1500, offsets": ((f"{OFFSETS}\n{OFFSETS}",), "ctw1500", [(14, "", False)] * 2),
    "MLT 2017": (
        (
            f"{QUAD},Latin,Ladies, gents\n{QUAD},Latin,###",
            f"{QUAD},None,###\n{QUAD},Hindi,1,2\n{QUAD},Arabic,",
        ),
        "mlt",
        [(4, "Ladies, gents", False), *[(4, "###", True)] * 2, (4, "1,2", False), (4, "", False)],
    ),
    "RCTW-17": (
        (f'{QUAD},0,"店"\n{QUAD},1,"###"\n{QUAD},1,"a,"b""\n{QUAD},0,"###"',),
        "rctw",
        [(4, "店", False), (4, "###", True), (4, 'a,"b"', True), (4, "###", True)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DOCUMENTED)
def test_a_dialect_is_told_by_all_lines_and_read_when_named(name: str, tmp_path: Path) -> None:
    files, format, expected = DOCUMENTED[name]
    for asked in ("auto", format):
        read = read_lines(tmp_path, *files, format=asked)
        assert (read.format, read.problems) == (format, ())
        assert words(read) == expected


def test_polygons_keep_all_their_points_and_offsets_start_at_the_corner(tmp_path: Path) -> None:
    (word,) = read_lines(tmp_path, f"{POLYGON},x\n").images[0].words
    assert word.points.ravel().tolist() == [float(number) for number in POLYGON.split(",")]
    (word,) = read_lines(tmp_path, OFFSETS).images[0].words
    assert word.points[:5].tolist() == [[100, 50], [200, 50], [200, 90], [100, 90], [150, 50]]


def test_a_wider_dialect_than_the_named_one_is_told(tmp_path: Path) -> None:
    named = read_lines(tmp_path, f"{QUAD},Latin,a\n{QUAD},Latin,b", format="icdar")
    assert words(named) == [(4, "Latin,a", False), (4, "Latin,b", False)]
    assert named.notes == ("gt looks like mlt and was read as icdar, as its format says",)


UNDECIDED = {
    "a flag without a text, or the text 0": (f"{QUAD},0\n{QUAD},1", "rctw"),
    "a flag, or a text without quotes": (f"{QUAD},0,店\n{QUAD},1,店", "rctw"),
    "five points, or an amount near the corner": ("20,20,90,20,90,40,20,40,12,30\n" * 2, "icdar_polygon"),
    "as many polygons as quadrilaterals with numbers": (f"{POLYGON},a\n{QUAD},10,000\n" * 2, "icdar_polygon"),
    "scripts in most lines": (f"{QUAD},Latin,a\n{QUAD},Thai,b\n{QUAD},Latin,c", "mlt"),
    "scripts in some lines": (f"{QUAD},a\n" * 9 + f"{QUAD},Latin,b", "mlt"),
    "flags in some lines": (f"{QUAD},a\n" * 9 + f'{QUAD},0,"b"', "rctw"),
    "a language that is no script": (f"{QUAD},english,###\n{QUAD},english,a", "two columns, 'english'"),
    "a column of few words": (f"{QUAD},en,a\n{QUAD},en,b\n{QUAD},de,c\n" * 2, "two columns, 'en'"),
    "a score": (f"{QUAD},0.98,a\n{QUAD},0.7,b\n{QUAD},1.0,c", "two columns, '0.98'"),
    "the number of points first": (f"4,{QUAD},a\n6,{POLYGON},b", "how many points follow"),
}


@pytest.mark.parametrize("name", UNDECIDED)
def test_what_lines_do_not_tell_is_refused_with_both_readings(name: str, tmp_path: Path) -> None:
    lines, other = UNDECIDED[name]
    with pytest.raises(ConfigError) as raised:
        read_lines(tmp_path, lines)
    message = str(raised.value)
    assert "as icdar: " in message and other in message and "data.splits.<split>.format" in message
    assert read_lines(tmp_path, lines, format="icdar").format == "icdar"  # it can be named


BROKEN = [
    ("mlt", f"{QUAD},Klingon,a"),
    ("mlt", f"{QUAD},Latin"),
    ("rctw", f'{QUAD},2,"a"'),
    ("rctw", f'{QUAD},"a"'),
    ("icdar_polygon", "1,2,3,4,a"),
    ("icdar_polygon", f"{POLYGON},900,900,a"),  # a seventh point, or the text `900,900,a`
    ("icdar_polygon", "20,40,60,20,100,40,100,80,60,60,20,80#$#a"),
    ("icdar_polygon", f"{POLYGON},1,234\n{POLYGON},a"),  # a seventh point, or an amount
    ("icdar_polygon", "20,40,40,60,20,100,40,100,80,60,60,20,80,a"),  # a number twice
    ("icdar", "100,50,50,200,50,200,80,100,80,a"),
    ("ctw1500", OFFSETS.replace(",100,", ",30,")),
    ("ctw1500", QUAD),
]


@pytest.mark.parametrize(("format", "line"), BROKEN)
def test_a_line_that_is_none_of_its_format_is_a_problem(format: str, line: str, tmp_path: Path) -> None:
    read = read_lines(tmp_path, line, format=format)
    assert [problem.where for problem in read.problems] == ["line 1"]


def test_a_point_on_the_diagonal_is_no_number_twice(tmp_path: Path) -> None:
    read = read_lines(tmp_path, "20,20,120,20,120,60,20,60,12, JALAN", format="icdar")
    assert (words(read), read.problems) == ([(4, "12, JALAN", False)], ())
