"""Two ways to do the heavy parts of the maps, with the same results to the last bit.

`compiled_backend` runs the loops of `ocr.map_loops`, `ocr.map_sweep` and `ocr.map_raster` as machine code;
the drawing, most of the time, without the GIL. `PLAIN` needs no compiler: it leaves every offset to Clipper
and every fill to OpenCV, and raises the field with NumPy; so it is also what the compiled shortcuts are
tested against.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from math import ceil, floor, sqrt
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pyclipper

from ocr import map_loops, map_raster, map_sweep

_log = logging.getLogger(__name__)
_one_at_a_time = threading.Lock()

Offsets = tuple[npt.NDArray[np.int32], npt.NDArray[np.int64], npt.NDArray[np.int32], npt.NDArray[np.int64]]

# numba keeps machine code for as long as the file of the loop that it was asked for is unchanged: what a loop
# calls must be in its own file.
_HELPERS = (
    map_loops.reverse,
    map_loops.drop_repeats,
    map_loops.drop_midpoints,
    map_loops.has_interior,
    map_loops.goes_straight,
    map_loops.twice_area,
    map_loops.most_points,
    map_loops.turns_of,
    map_loops.trace_offset,
    map_loops.put,
    map_loops.to_nearest,
    map_sweep.cut_outline,
    map_sweep.drop_idle,
    map_sweep.find_loops,
    map_sweep.touches,
    map_sweep.are_apart,
    map_sweep.cut_loops,
    map_sweep.loop_area,
    map_sweep.where_they_cross,
    map_sweep.crossing_pixel,
    map_sweep.upwards,
    map_sweep.next_row,
    map_sweep.column_at,
    map_sweep.to_nearest,
    map_raster.fill_outlines,
    map_raster.fits,
    map_raster.draw_line,
    map_raster.fill_inside,
    map_raster.sort,
    map_raster.raise_edges,
    map_raster.raise_edge,
    map_raster.is_beyond,
    map_raster.raise_pixel,
    map_raster.raise_run,
)


@dataclass(frozen=True)
class Backend:
    """What `ocr.map_shapes` and `ocr.maps` call; the loops of the same names say what each does."""

    clean: Callable[..., Any]
    measure: Callable[..., Any]
    offset_outlines: Callable[..., Any]
    draw: Callable[..., Any]


def choose_backend(compiled: bool | None) -> Backend:
    """Give the compiled backend (`True`), the plain one (`False`), or the fastest that there is (`None`)."""
    if compiled is False:
        return PLAIN
    backend = compiled_backend()
    if backend is None and compiled:
        raise RuntimeError(
            "the compiled maps need numba, which cannot be imported; install it or leave `compiled` out"
        )
    return backend or PLAIN


def compiled_backend() -> Backend | None:
    """Give the compiled loops, or `None` without numba; the first call in a process loads or compiles them.

    Compiling takes seconds, once: the machine code is kept beside the sources or, where they are
    read-only, in the user's cache folder, and loads in a fraction of a second afterwards.
    """
    with _one_at_a_time:
        return _compile()


@cache
def _compile() -> Backend | None:
    # Here and not above: importing numba takes longer than most commands that import this module.
    try:
        import numba
    except ImportError as error:
        _log.info("maps are drawn without numba, same results but slower: %s", error)
        return None
    started = time.perf_counter()
    for helper in _HELPERS:
        numba.extending.register_jitable(error_model="numpy")(helper)

    def jit(loop: Callable[..., Any], signature: str, nogil: bool = False) -> Callable[..., Any]:
        options = {"nogil": nogil, "error_model": "numpy"}
        try:
            return numba.njit(signature, cache=True, **options)(loop)  # type: ignore[no-any-return]
        except Exception as error:  # nowhere to keep the code, or a damaged file there: only time is lost
            _log.info("compiling %s without a cache: %s", loop.__name__, error)
            return numba.njit(signature, **options)(loop)  # type: ignore[no-any-return]

    points, outlines, bounds = "f8[:,::1]", "i4[:,::1]", "i8[::1]"
    planes = "UniTuple(u1[:,::1], 3), f4[:,::1]"
    fills = f"UniTuple({outlines}, 3), UniTuple({bounds}, 3)"
    edges = f"{points}, {bounds}, f8[::1], i8[:,::1]"
    # Only this one releases the GIL: to get it back may take longer than any of the others runs.
    draw = jit(map_raster.draw, f"(b1, {planes}, {fills}, {edges}, f8, f8, b1)", nogil=True)
    trace = jit(map_loops.trace_outlines, f"({outlines}, {bounds}, b1[::1], f8[::1])")
    cut = jit(map_sweep.cut_outlines, f"(i8[:,::1], {bounds})")
    backend = Backend(
        jit(map_loops.clean, f"({points}, {bounds}, i8, i8)"),
        jit(map_loops.measure, f"({points}, {bounds})"),
        _if_like_clipper(partial(offset_outlines, trace=trace, cut=cut)),
        partial(draw, _fills_like_opencv(draw)),
    )
    _log.info("the compiled maps are ready after %.2f s", time.perf_counter() - started)
    return backend


def offset_outlines(
    outlines: npt.NDArray[np.int32],
    bounds: npt.NDArray[np.int64],
    wanted: npt.NDArray[np.bool_],
    distance: npt.NDArray[np.float64],
    *,
    trace: Callable[..., Any] = map_loops.trace_outlines,
    cut: Callable[..., Any] = map_sweep.cut_outlines,
) -> Offsets:
    """Shrink and grow the wanted outlines by their distance; those left to Clipper get no points.

    Gives points and bounds of the shrunk outlines, then of the grown ones.
    """
    offsets: Offsets = cut(*trace(outlines, bounds, wanted, distance))
    return offsets


def _fills_like_opencv(draw: Callable[..., Any]) -> bool:
    """Tell whether the compiled `map_raster.draw` fills as the installed OpenCV does.

    Up to 4.10 its polygons reach a pixel further here and there, in one triangle of seven.
    """
    no_points, no_bounds = np.empty((0, 2), np.int32), np.zeros(1, np.int64)
    nothing = np.empty((0, 2)), no_bounds, np.empty(0), np.empty((0, 4), np.int64)
    for outline in np.random.default_rng(0).integers(0, 128, (64, 5, 2), dtype=np.int32):
        planes, field = np.zeros((4, 128, 128), np.uint8), np.empty((128, 128), np.float32)
        outlines, bounds = (outline, no_points, no_points), (np.array([0, 5]), no_bounds, no_bounds)
        draw(True, tuple(planes[:3]), field, outlines, bounds, *nothing, 0.0, 1.0, False)
        cv2.fillPoly(planes[3], [outline], 1)
        if not np.array_equal(planes[0], planes[3]):
            _log.info("OpenCV %s fills polygons in a way of its own: leaving it the fills", cv2.__version__)
            return False
    return True


def _if_like_clipper(offset: Callable[..., Any]) -> Callable[..., Any]:
    """Give `offset`, or the one that leaves all to Clipper where the installed Clipper offsets otherwise."""
    random = np.random.default_rng(0)
    for _ in range(64):
        width, height, angle = random.uniform(20, 120), random.uniform(8, 40), random.uniform(0, 6.3)
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        corners = np.array([[0, 0], [width, 0], [width, height], [0, height]]) @ turn
        outline, distance = (corners + 200).astype(np.int32), 0.42 * width * height / (width + height)
        shrunk, _, grown, _ = offset(outline, np.array([0, 4]), np.array([True]), np.array([distance]))
        clipper = pyclipper.PyclipperOffset()
        clipper.AddPath(outline.tolist(), pyclipper.JT_ROUND, pyclipper.ET_CLOSEDPOLYGON)
        for ours, theirs in ((shrunk, clipper.Execute(-distance)), (grown, clipper.Execute(distance))):
            # Clipper starts anywhere, so what counts is where the points lie.
            if len(ours) and [sorted(ours.tolist())] != [sorted(path) for path in theirs]:
                _log.info("Clipper offsets outlines in a way of its own: leaving it the offsets")
                return _offset_none
    return offset


def _offset_none(
    outlines: npt.NDArray[np.int32],
    bounds: npt.NDArray[np.int64],
    wanted: npt.NDArray[np.bool_],
    distance: npt.NDArray[np.float64],
) -> Offsets:
    """Leave every outline to Clipper."""
    none, no_bounds = np.empty((0, 2), np.int32), np.zeros_like(bounds)
    return none, no_bounds, none, no_bounds


def _draw(
    planes: tuple[npt.NDArray[np.uint8], ...],
    field: npt.NDArray[np.float32],
    outlines: tuple[npt.NDArray[np.int32], ...],
    outline_bounds: tuple[npt.NDArray[np.int64], ...],
    rings: npt.NDArray[np.float64],
    bounds: npt.NDArray[np.int64],
    distance: npt.NDArray[np.float64],
    boxes: npt.NDArray[np.int64],
    low: float,
    high: float,
    euclidean: bool,
) -> tuple[npt.NDArray[np.bool_], ...]:
    """Do what `map_raster.draw` does, and leave every outline to OpenCV."""
    for plane, ground in zip(planes, map_raster.GROUNDS, strict=True):
        plane[:] = ground
    field[:] = low
    _raise_edges(field, rings, bounds, distance, boxes, low, high, euclidean)
    return tuple(np.zeros(len(each) - 1, bool) for each in outline_bounds)


def _raise_edges(
    field: npt.NDArray[np.float32],
    rings: npt.NDArray[np.float64],
    bounds: npt.NDArray[np.int64],
    distance: npt.NDArray[np.float64],
    boxes: npt.NDArray[np.int64],
    low: float,
    high: float,
    euclidean: bool,
) -> None:
    """Do what `map_raster.raise_edges` does, an edge at a time."""
    for index, (left, top, right, bottom) in enumerate(boxes.tolist()):
        if left > right or top > bottom:
            continue
        ring = (rings[bounds[index] : bounds[index + 1]] - (left, top)).tolist()
        window = field[top : bottom + 1, left : right + 1]
        reach = float(distance[index])
        for i in range(len(ring)):
            (x1, y1), (x2, y2) = sorted((ring[i - 1], ring[i]))
            _raise_edge(window, x1, y1, x2, y2, reach, low, high - low, euclidean)


def _raise_edge(
    window: npt.NDArray[np.float32],
    x1: float,
    y1: float,
    x2: float,
    y2: float,
    reach: float,
    low: float,
    span: float,
    euclidean: bool,
) -> None:
    first_row, first_column = max(0, floor(min(y1, y2) - reach)), max(0, floor(x1 - reach))
    window = window[first_row : ceil(max(y1, y2) + reach) + 1, first_column : ceil(x2 + reach) + 1]
    rows = np.arange(first_row, first_row + window.shape[0])[:, None]
    columns = np.arange(first_column, first_column + window.shape[1])
    dx, dy = x2 - x1, y2 - y1
    ax, ay, bx, by = columns - x1, rows - y1, columns - x2, rows - y2
    nearest = np.sqrt(np.minimum(ax * ax + ay * ay, bx * bx + by * by))
    beside = np.abs(dx * ay - dy * ax) * (1.0 / (sqrt(dx * dx + dy * dy) * reach))
    beyond = map_raster.is_beyond(ax, ay, bx, by, dx, dy, euclidean)
    share = np.where(beyond, nearest / reach, beside)
    np.maximum(window, (low + (1.0 - share) * span).astype(np.float32), out=window)


PLAIN = Backend(map_loops.clean, map_loops.measure, _offset_none, _draw)
