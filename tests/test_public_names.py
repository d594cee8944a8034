"""The public names: all from one place, and the paths that users had before."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import warmstore

PATHS = {
    "pipeline.store": ("open_store",),
    "ocr.datasets": ("TensorDataset", "OnlineDataset", "OcrDataModule", "DatasetConfig", "CacheConfig"),
    "ocr.maps": ("build_maps", "MapParams", "Maps"),
    "ocr.metrics": ("CLEval", "IouHmean"),
}
NAMES = [
    "BoxDecoder",
    "CLEval",
    "Detections",
    "Detector",
    "DetectorModule",
    "DetectorOutput",
    "DetectorScore",
    "IouHmean",
    "MapParams",
    "OcrDataModule",
    "OnlineDataset",
    "Parameters",
    "TensorDataset",
    "build_maps",
    "collate",
    "evaluate_detector",
    "open_store",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_the_same_object_at_every_path(name: str) -> None:
    found = getattr(warmstore, name)
    homes = [module for module, names in PATHS.items() if name in names]
    assert all(getattr(importlib.import_module(home), name) is found for home in homes)
    assert found.__doc__


@pytest.mark.parametrize(("module", "names"), PATHS.items())
def test_paths_of_before_go_on_working(module: str, names: tuple[str, ...]) -> None:
    face = importlib.import_module(module)
    assert [name for name in names if not hasattr(face, name)] == []


def test_the_stub_names_what_there_is() -> None:
    stub = ast.parse(Path(warmstore.__file__).with_suffix(".pyi").read_text())
    named = {
        (node.module, alias.name)
        for node in stub.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert {name for _, name in named} == set(warmstore.__all__) == set(NAMES)
    assert all(
        getattr(warmstore, name) is getattr(importlib.import_module(str(home)), name) for home, name in named
    )
    assert set(NAMES) <= set(dir(warmstore))


def test_an_unknown_name_is_told_with_those_that_there_are() -> None:
    with pytest.raises(AttributeError, match=r"warmstore has no Tensordataset; it has BoxDecoder, CLEval"):
        _ = warmstore.Tensordataset


@pytest.mark.parametrize(
    "line", ["import warmstore", "from warmstore import open_store", "import warmstore.cli"]
)
def test_what_needs_no_torch_does_not_import_it(line: str) -> None:
    heavy = ("torch", "pytorch_lightning", "numba", "matplotlib")
    check = f"import sys; {line}; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
