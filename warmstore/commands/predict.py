"""Commands that use a trained detector: on images, and as a model for elsewhere."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ocr.annotations import image_files
from ocr.training import existing_checkpoint
from pipeline.errors import ConfigError
from pipeline.files import write_aside
from warmstore import show
from warmstore.configuration import RunConfig
from warmstore.log_lines import show_warnings
from warmstore.options import Invocation, checkpoint_option, run_options, writable

if TYPE_CHECKING:
    from ocr.evaluation import Prediction

_RUN = "The run's settings are those that the checkpoint's training kept, unless --config names a run."


@click.command(epilog=_RUN)
@run_options(words="IMAGES")
@checkpoint_option
@click.option(
    "--format",
    "format_name",
    type=click.Choice(["native", "paddleocr", "labelme"]),
    default="native",
    show_default=True,
    help="How regions are written: as JSON in the native format, or as labels for a tool.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="The file to write (for labelme a folder); otherwise regions are printed.",
)
@click.option(
    "--overlays", type=click.Path(path_type=Path), help="A folder for pictures with what was found."
)
def predict(
    asked: Invocation, checkpoint: Path | None, format_name: str, output: Path | None, overlays: Path | None
) -> int:
    """Find the text on images, files or whole folders, and write it as labels and pictures.

    Polygons lie in the upright image, as a viewer shows it. Exit code 1 where an image cannot be used.

    \b
    Example:
      warmstore predict photo.jpg --checkpoint work/runs/20260101-120000-train/checkpoints/best.ckpt
      warmstore predict photos --format paddleocr --output Label.txt --overlays found
    """
    show_warnings()
    images = list(_images(asked.words))
    if format_name == "labelme" and output is None:
        raise ConfigError("labelme wants a folder for its files: give --output FOLDER")
    if asked.json and format_name != "native" and output is None:
        raise ConfigError(f"--json prints regions in the native format: give --output FILE for {format_name}")
    if output and format_name != "labelme":
        writable(output)
    places = [Path(os.path.abspath(path)) for path in images]  # noqa: PTH100 - resolve() follows links
    root = Path(os.path.commonpath([place.parent for place in places]))
    chosen, config = _chosen(asked, checkpoint)
    from ocr.evaluation import Prediction, draw_prediction
    from ocr.evaluation import predict as find
    from warmstore.workflows import loaded_detector

    module = loaded_detector(config, chosen)
    named = [(place.relative_to(root).as_posix(), path) for place, path in zip(places, images, strict=True)]
    found: list[Prediction] = []
    refused: dict[str, str] = {}
    stages, batch = config.stages, config.model.batch_size
    with show.progress() as progress:
        advance = progress.begin("predict", "images", len(named))
        for one in find(module, named, stages.canonicalize, stages.decode, batch):
            advance(1)
            if not isinstance(one, Prediction):
                refused[one.name] = str(one.verdict)
                continue
            if overlays:
                file = overlays / f"{one.name}.jpg"
                file.parent.mkdir(parents=True, exist_ok=True)
                draw_prediction(one).save(file, quality=90)
            found.append(one)
    _write(asked, format_name, output, root, found, refused, chosen)
    if overlays and output and found and not asked.json:
        click.echo(f"{show.counted(len(found), 'picture')} of them in {overlays}")
    for name, why in refused.items():
        click.echo(f"refused {name}: {why}", err=True)
    return int(bool(refused))


@click.command(epilog=_RUN)
@run_options(words="CHECKPOINT OUT.ONNX")
def export(asked: Invocation) -> int:
    """Write a checkpoint as an ONNX model, for batches of any size and canvases of any size.

    Its maps are compared with torch's before it is written, and the largest difference is printed. Its
    metadata hold mean, std, canvas and the parameters of box decoding. It needs the extra [onnx].

    \b
    Example:
      warmstore export work/runs/20260101-120000-train/checkpoints/best.ckpt detector.onnx
    """
    if len(asked.words) != 2:
        raise ConfigError(
            "export wants a checkpoint and the file to write: `warmstore export best.ckpt out.onnx`"
        )
    output = writable(Path(asked.words[1]))
    chosen, config = _chosen(asked, Path(asked.words[0]))
    from warmstore.workflows import loaded_detector

    written = loaded_detector(config, chosen).to_onnx(output)
    if asked.json:
        show.print_json({"written": str(output), **vars(written)})
        return 0
    shapes = " and ".join("{} × 3 × {} × {}".format(*shape) for shape in written.compared)
    click.echo(f"{output}: {show.size(written.bytes)}, batch, height and width are free")
    click.echo(f"largest difference of a probability from torch's: {written.difference:.1e}, on {shapes}")
    return 0


def _images(words: Sequence[str]) -> Iterator[Path]:
    """Give the files that were typed, and the images below the folders. Raises ConfigError for none."""
    if not words:
        raise ConfigError("give images or folders of images, such as `warmstore predict photo.jpg`")
    for path in map(Path, words):
        if path.is_file():
            yield path
            continue
        if not path.is_dir():
            raise ConfigError(f"there is no image or folder {path}")
        below = [path / name for name in image_files(path)]
        if not below:
            raise ConfigError(f"there is no image in {path}")
        yield from below


def _chosen(asked: Invocation, checkpoint: Path | None) -> tuple[Path, RunConfig]:
    """Give the checkpoint, and the configuration: of the run that was typed, else that kept beside it."""
    from warmstore.workflows import kept_config, newest_checkpoint

    found = existing_checkpoint(checkpoint) if checkpoint else newest_checkpoint(asked.config.runs_dirs)
    kept = None if "--config" in asked.typed else kept_config(found, asked.overrides)
    return found, kept or asked.config


def _write(
    asked: Invocation,
    format_name: str,
    output: Path | None,
    root: Path,
    found: Sequence[Prediction],
    refused: dict[str, str],
    checkpoint: Path,
) -> None:
    """Write or print the regions, and where they are written say how many there are."""
    from ocr.evaluation import labelme, native, paddleocr

    if format_name == "labelme":
        assert output is not None
        for file, text in labelme(found, root, output.absolute()).items():
            file.parent.mkdir(parents=True, exist_ok=True)
            write_aside(file, text.encode())
    else:
        facts = {"folder": str(root), "checkpoint": str(checkpoint), "refused": refused}
        text = native(found, **facts) if format_name == "native" else paddleocr(found)
        if output is None:
            click.echo(text, nl=False)
            return
        write_aside(output, text.encode())
    regions = sum(len(one.detections.polygons) for one in found)
    if asked.json:
        told = {"written": str(output), "regions": regions, "images": len(found), "refused": refused}
        show.print_json(told)
        return
    click.echo(f"{show.counted(regions, 'region')} on {show.counted(len(found), 'image')} in {output}")
