"""A store to be looked at: as text, as HTML, its samples as pictures, and as an xarray data set."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import PipelineError, StoreError, UnknownSampleError
from pipeline.extras import extra
from pipeline.pictures import as_data_uri, as_pixels, overview, sheet
from pipeline.stage import Chunked, Field, File, Ragged, describe_field

if TYPE_CHECKING:
    from PIL import Image

    from pipeline.store.reader import Store

THUMBNAILS = 8
_THUMBNAIL = 144  # pixels of their longer side


def show(stores: Sequence[Store], sample: int | str, fields: Sequence[str], side: int) -> Image.Image:
    """Draw one sample of stores that hold the same ones (see `Store.show`); the first has the polygons."""
    row, declared = _row(stores[0], sample), [name for store in stores for name in store.declared]
    shown = (*_first_picture(stores[0]), *fields) if fields else declared
    panels = [panel for panel in _panels(stores, row, shown, side) if not fields or panel[0] in fields]
    if not panels:
        where = " and ".join(str(store.name) for store in stores)
        raise StoreError(f"{where} holds no picture among {', '.join(fields or declared)}")
    name, first = panels[0]
    return sheet([(f"{stores[0].sample_ids[row]} {name}", first), *panels[1:]], 3, side)


def to_text(store: Store) -> str:
    """Describe a store in lines: what it is, and its fields."""
    try:
        size = f"{store.manifest.size / 1e6:.2f} MB"
    except StoreError:
        size = "of unknown size"
    width = max(map(len, store.declared), default=0)
    fields = (f"  {name:{width}}  {describe_field(f, len(store))}" for name, f in store.declared.items())
    head = f"Store {store.name}: {store.stage}, generation {store.generation}, {len(store)} samples, {size}"
    return "\n".join((head, *fields))


def to_html(store: Store) -> str:
    """Describe a store in HTML: its fields, and thumbnails of the first samples."""
    head, *_ = to_text(store).split("\n")
    rows = "".join(
        f"<tr><td style='text-align:left'>{escape(name)}</td>"
        f"<td style='text-align:left'>{escape(describe_field(field, len(store)))}</td></tr>"
        for name, field in store.declared.items()
    )
    return f"<div>{escape(head)}<table>{rows}</table>{thumbnails(store, range(len(store)))}</div>"


def thumbnails(store: Store, rows: Sequence[int]) -> str:
    """Give the first of these samples in HTML, each with its name; a damaged one says so."""
    figures = []
    for row in map(int, rows[:THUMBNAILS]):
        name = escape(store.sample_ids[row])
        try:
            panels = _panels([store], row, _first_picture(store), _THUMBNAIL)
        except PipelineError as error:
            figures.append(f"<figcaption title='{escape(str(error))}'>{name}: damaged</figcaption>")
            continue
        image = "".join(f"<img src='{as_data_uri(panel)}' alt='{name}'>" for _, panel in panels[:1])
        figures.append(f"{image}<figcaption>{name}</figcaption>" if image else "")
    more = f"<p>and {len(rows) - THUMBNAILS:,} more</p>" if len(rows) > THUMBNAILS and any(figures) else ""
    style = "display:inline-block;margin:4px;font-size:smaller"
    return "".join(f"<figure style='{style}'>{figure}</figure>" for figure in figures if figure) + more


def to_xarray(store: Store) -> Any:
    """Open a store as an xarray data set (see `Store.to_xarray`)."""
    with extra("notebook", "to_xarray"):
        import xarray
    from pipeline.store.zarr_view import whole_store

    opened = xarray.open_zarr(whole_store(store))
    return opened.drop_vars("sample_id").assign_coords(sample=list(store.sample_ids))


def _row(store: Store, sample: int | str) -> int:
    if isinstance(sample, str):
        if sample not in store.rows:
            raise UnknownSampleError(str(store.name), sample, store.sample_ids)
        return store.rows[sample]
    if not -len(store) <= sample < len(store):
        raise IndexError(f"sample {sample} of {len(store)} in {store.name}")
    return int(sample) % len(store)


def _panels(
    stores: Sequence[Store], row: int, fields: Sequence[str], side: int
) -> list[tuple[str, Image.Image]]:
    store, pictures = stores[0], dict[str, Any]()
    for one in stores:
        pictures |= _pictures(one, row, [name for name in fields if name not in pictures])
    polygons, ignore = _polygons(store, row)
    canvas = isinstance(store.declared.get(next(iter(pictures), "")), Chunked)
    if canvas and "matrix" in store.declared:  # outlines are in the frame of the upright file
        matrix = store.value("matrix", row)
        polygons = [points @ matrix[:2, :2].T + matrix[:2, 2] for points in polygons]
    return overview(pictures, polygons, ignore, side)


def _pictures(store: Store, row: int, fields: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """Give the fields that are pictures: images as images, maps as arrays (H, W)."""
    from PIL import Image, UnidentifiedImageError

    for name in fields:
        value = store.value(name, row) if _is_picture(store.declared.get(name)) else None
        field = store.declared.get(name)
        if isinstance(field, File) and value is not None:
            try:
                yield name, Image.open(io.BytesIO(value.data))
            except (UnidentifiedImageError, Image.DecompressionBombError):
                continue
        elif value is not None and value.ndim == 3 and len(value) == 3:
            yield name, Image.fromarray(stored_pixels(store, value))
        elif value is not None:
            yield name, value.reshape(value.shape[-2:])


def _is_picture(field: Field | None) -> bool:
    if isinstance(field, Chunked):
        return len(field.shape) == 2 or (len(field.shape) == 3 and field.shape[0] in (1, 3))
    return isinstance(field, File)


def _first_picture(store: Store) -> tuple[str, ...]:
    return tuple(name for name, field in store.declared.items() if _is_picture(field))[:1]


def _polygons(store: Store, row: int) -> tuple[list[NDArray[Any]], NDArray[Any]]:
    """Read the field that holds polygons, and which of them are don't-care."""
    for name, field in store.declared.items():
        if isinstance(field, Ragged) and field.levels == 2 and field.shape == (2,):
            ignore = store.value("ignore", row) if "ignore" in store.declared else np.zeros(0)
            return list(store.value(name, row)), ignore
    return [], np.zeros(0)


def stored_pixels(store: Store, image: NDArray[Any]) -> NDArray[np.uint8]:
    """Bring a store's image (3, H, W) to uint8 (H, W, 3), where it was normalised too."""
    said = store.attributes
    if said.get("image_dtype") == "bfloat16" and image.dtype == np.uint16:  # stored as its bits
        image = (image.astype(np.uint32) << 16).view(np.float32)
    return as_pixels(image, (said["mean"], said["std"]) if said.get("normalised") else None)
