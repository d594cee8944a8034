"""The house: rooms import downwards and through faces, and no file or function hides what it is for."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("pipeline", "ocr", "stages", "warmstore")
FILES = sorted(path.relative_to(ROOT) for package in PACKAGES for path in ROOT.glob(f"{package}/**/*.py"))
FACES = {str(path.parent).replace("/", "."): path for path in FILES if path.name == "__init__.py"}
SHORT = 300


def module_of(path: Path) -> str:
    """`ocr/maps/build.py` → `ocr.maps.build`; a face has its room's name."""
    return str(path.with_suffix("")).replace("/", ".").removesuffix(".__init__")


def room_of(module: str) -> str:
    """The folder of a package that holds a module: `ocr.maps.build` → `ocr.maps`, `ocr.geometry` → itself."""
    return ".".join(module.split(".")[:2])


def imports(path: Path) -> Iterator[str]:
    """Modules of ours that a file imports names or modules from, wherever it does."""
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in PACKAGES:
            if node.module in PACKAGES:
                yield from (f"{node.module}.{name.name}" for name in node.names)
            else:
                yield node.module
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name.split(".")[0] in PACKAGES)


def test_no_circle_of_rooms() -> None:
    below = {room_of(module_of(path)): set[str]() for path in FILES}
    for path in FILES:
        here = room_of(module_of(path))
        below[here] |= {room for room in map(room_of, imports(path)) if room in below and room != here}
    while ground := [room for room, rooms in below.items() if not rooms]:
        for room in ground:
            del below[room]
        for rooms in below.values():
            rooms.difference_update(ground)
    assert below == {}, "these rooms import each other in a circle, or stand on one"


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_import_downwards(package: str) -> None:
    lower = PACKAGES[: PACKAGES.index(package) + 1]
    found = {(str(path), name) for path in FILES if path.parts[0] == package for name in imports(path)}
    assert not {(path, name) for path, name in found if name.split(".")[0] not in lower}


@pytest.mark.parametrize("folder", [*PACKAGES, "benchmarks", "tests"])
def test_rooms_are_entered_through_their_faces(folder: str) -> None:
    found = set()
    for path in sorted(ROOT.glob(f"{folder}/**/*.py")):
        here = module_of(path.relative_to(ROOT))
        for name in imports(path.relative_to(ROOT)):
            if name not in FACES and room_of(name) in FACES and room_of(name) != room_of(here):
                found.add(f"{path.relative_to(ROOT)} imports from {name}, not from the face above it")
    assert found == set()


def public_names(owner: ast.Module | ast.ClassDef) -> Iterator[tuple[str, ast.FunctionDef | ast.ClassDef]]:
    """Public functions, classes and their methods."""
    for node in owner.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            if not any(getattr(decorator, "attr", "") == "setter" for decorator in node.decorator_list):
                yield node.name, node
            if isinstance(node, ast.ClassDef):
                yield from public_names(node)


@pytest.mark.parametrize("path", [path for path in FILES if path.name != "__init__.py"], ids=str)
def test_public_names_are_documented(path: Path) -> None:
    tree = ast.parse((ROOT / path).read_text())
    assert ast.get_docstring(tree)
    assert [name for name, node in public_names(tree) if not ast.get_docstring(node)] == []


@pytest.mark.parametrize("folder", [*PACKAGES, "benchmarks", "tests"])
def test_files_are_short(folder: str) -> None:
    lengths = {str(path): path.read_text().count("\n") for path in ROOT.glob(f"{folder}/**/*.py")}
    assert lengths and not {path: length for path, length in lengths.items() if length > SHORT}


@pytest.mark.parametrize("room", [room for room in FACES if "." in room])
def test_faces_say_what_is_in_a_room(room: str) -> None:
    assert ast.get_docstring(ast.parse((ROOT / FACES[room]).read_text()))
