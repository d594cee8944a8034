"""The command that starts a new data set: looks at it, and writes the configuration of its first run."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import yaml
from numpy.typing import NDArray
from pydantic import ValidationError

from ocr.preprocess import BYTES_PER_PIXEL
from ocr.splits import Overview, look_over
from pipeline.errors import ConfigError, Remedy, shortened
from pipeline.files import write_aside
from warmstore import show
from warmstore.configuration import DataConfig, RunConfig, SplitConfig, load_config, own_folder
from warmstore.options import spelled
from warmstore.starter import CANVASES, READABLE, Suggestion, histogram, starter_yaml, suggest

_SHOWN = 5
_Part = tuple[int, int | None] | None


@click.command()
@click.argument("name")
@click.option(
    "--train",
    nargs=2,
    type=click.Path(path_type=Path),
    required=True,
    metavar="IMAGES LABELS",
    help="The folder of the images to train on, and the file or folder of their labels.",
)
@click.option(
    "--val",
    nargs=2,
    type=click.Path(path_type=Path),
    metavar="IMAGES LABELS",
    help="The same of the images to validate on.",
)
@click.option(
    "--split-off",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    metavar="SHARE",
    help="Validate on this share of the training images, where they come as one folder.",
)
@click.option("--force", is_flag=True, help="Replace a configuration of this name.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--debug", is_flag=True, help="Show a traceback when something goes wrong.")
@click.argument("keys", nargs=-1, metavar="[KEY=VALUE]…")
def init(
    name: str,
    train: tuple[Path, Path],
    val: tuple[Path, Path] | None,
    split_off: float | None,
    force: bool,
    as_json: bool,
    debug: bool,
    keys: tuple[str, ...],
) -> int:
    """Look at your images and labels, and write a configuration that trains on them in minutes.

    Finds the labels' format, counts images and words, shows how high the text is, and suggests a canvas
    on which it can be read. It writes configs/NAME.yaml and changes nothing else.

    KEY=VALUE says how labels are read where that is not found by itself: format=icdar,
    encoding=gb18030, label_frame=raw, follow_links=true, scale_labels=true, subset=train.

    \b
    Example:
      warmstore init mine --train photos/train train.json --val photos/val val.json
      warmstore init mine --train receipts/img receipts/box --split-off 0.2
    """
    if (val is None) == (split_off is None):
        raise ConfigError(
            "a split to validate on is needed: give either --val IMAGES LABELS, or --split-off 0.2 to take "
            "it from the training images"
        )
    file = _new_file(name, force)
    data = _described({"train": train, "val": val or train}, keys)
    run = RunConfig(data=data)
    found = {split: _looked_over(run, split) for split in (("train", "val") if val else ("train",))}
    parts, usable = _parted(found, split_off)
    heights = np.concatenate([seen.heights for seen in found.values()])
    if not len(heights):
        raise ConfigError(f"no word in {train[1]} has a place and counts, so there is nothing to learn from")
    chosen = suggest(heights)
    file.parent.mkdir(exist_ok=True)
    write_aside(file, starter_yaml(name, _settled(data, found, parts), usable, chosen).encode())
    load_config(name)
    following = [spelled(Remedy(command), "--config", name) for command in ("run", "train")]
    if as_json:
        show.print_json(
            {
                "written": str(file),
                "splits": {split: _as_json(seen) for split, seen in found.items()},
                "suggested": vars(chosen),
                "next": following,
            }
        )
        return 0
    for split, seen in found.items():
        _tell(split, seen)
    if split_off is not None:
        click.echo(
            f"split off: {usable['val']} of them to validate on, {usable['train']} are left to train on"
        )
    _tell_heights(heights, chosen)
    click.echo(f"\nwritten: {os.path.relpath(file)}")
    click.echo(f"next:    {following[0]}\nthen:    {following[1]}")
    return 0


def _new_file(name: str, force: bool) -> Path:
    """Give the path of the configuration to write. Raises ConfigError for a bad name or one that is taken."""
    if not re.fullmatch(r"\w[\w.-]*", name) or name.endswith(".yaml"):
        raise ConfigError(f"{name} is no name for a run; give one of letters, digits, - and _, such as mine")
    file = own_folder() / f"{name}.yaml"
    if file.exists() and not force:
        raise ConfigError(f"{file} is there already; give another name, or --force to replace it")
    return file


def _described(pairs: Mapping[str, tuple[Path, Path]], keys: Sequence[str]) -> DataConfig:
    """Describe the data set: its root is the innermost folder that holds all that was typed."""
    for images, labels in pairs.values():
        if not images.is_dir():
            raise ConfigError(f"there is no folder of images at {images}; give IMAGES, then LABELS")
        if not labels.exists():
            raise ConfigError(f"there are no labels at {labels}; give IMAGES, then LABELS")
    typed = [path for pair in pairs.values() for path in pair]
    root, below = _below_root(typed)
    asked = _read_keys(keys)
    splits = {
        split: {"images": below[images], "annotations": below[labels], **asked}
        for split, (images, labels) in pairs.items()
    }
    kept = str(root) if any(path.is_absolute() for path in typed) else os.path.relpath(root)
    try:
        return DataConfig.model_validate_json(json.dumps({"root": kept, "splits": splits}))
    except ValidationError as error:
        told = {f"{found['loc'][-1]}: {found['msg']}" for found in error.errors()}
        raise ConfigError(f"{'; '.join(sorted(told))}; see `warmstore init --help`") from None


def _below_root(typed: Sequence[Path]) -> tuple[Path, dict[Path, str]]:
    """Give the innermost folder that holds all paths, and each path below it.

    Links are followed only where they would lead out of that folder otherwise.
    """
    places = {path: Path(os.path.abspath(path)) for path in typed}  # noqa: PTH100 - resolve() follows links
    root = Path(os.path.commonpath(places.values()))
    if not all(path.resolve().is_relative_to(root.resolve()) for path in typed):
        places = {path: path.resolve() for path in typed}
        root = Path(os.path.commonpath(places.values()))
    return root, {path: str(place.relative_to(root)) for path, place in places.items()}


def _read_keys(keys: Sequence[str]) -> dict[str, Any]:
    """Read KEY=VALUE, the value as YAML. Raises ConfigError for a key that says nothing of reading labels."""
    known = [key for key in SplitConfig.model_fields if key not in ("images", "annotations", "part")]
    asked = {}
    for key, sign, value in (text.partition("=") for text in keys):
        name = key.rpartition(".")[2]  # errors name them `data.splits.<split>.encoding`
        if not sign or name not in known:
            raise ConfigError(f"{key} does not say how labels are read; these keys do: {', '.join(known)}")
        asked[name] = yaml.safe_load(value)
    return asked


def _looked_over(run: RunConfig, split: str) -> Overview:
    """Look at a split. Raises ConfigError where none of its images can be used."""
    seen = look_over(run.source(split))
    if not seen.usable:
        raise _none_usable(f"in {run.data.root / run.data.splits[split].annotations}", seen, seen.ranked)
    return seen


def _parted(
    found: Mapping[str, Overview], share: float | None
) -> tuple[Mapping[str, _Part], Mapping[str, int]]:
    """Give the part that each split has of what its labels list, and how many of its images can be used.

    Raises ConfigError where a `share` that is split off leaves one of them none.
    """
    if share is None:
        return dict.fromkeys(found), {split: seen.usable for split, seen in found.items()}
    seen = found["train"]
    taken = _taken(share, seen.listed)
    names = {"train": seen.ranked[taken:], "val": seen.ranked[:taken]}
    for split, ranked in names.items():
        if not seen.usable_of(ranked):
            whose = f"that --split-off {share:g} leaves to {split}"
            raise _none_usable(whose, seen, ranked, "; give another share, or mend these")
    usable = {split: seen.usable_of(ranked) for split, ranked in names.items()}
    return {"train": (taken, None), "val": (0, taken)}, usable


def _settled(data: DataConfig, found: Mapping[str, Overview], parts: Mapping[str, _Part]) -> DataConfig:
    """Give the data set with what was found out: the format of each split's labels, and its part of them."""
    splits = {
        split: folder.model_copy(
            update={"format": found.get(split, found["train"]).format, "part": parts[split]}
        )
        for split, folder in data.splits.items()
    }
    return data.model_copy(update={"splits": splits})


def _none_usable(whose: str, seen: Overview, names: Sequence[str], otherwise: str = "") -> ConfigError:
    refused = "; ".join(f"{name} is {seen.refused[name]}" for name in names[:_SHOWN])
    more = f"; and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ConfigError(f"none of the {len(names)} images {whose} can be used: {refused}{more}{otherwise}")


def _taken(share: float, listed: int) -> int:
    """Count the images that are split off: one at least, and one is left."""
    if listed < 2:
        raise ConfigError(f"--split-off wants two images at least, and the labels list {listed}")
    return min(listed - 1, max(1, round(share * listed)))


def _as_json(seen: Overview) -> dict[str, Any]:
    facts = {key: value for key, value in vars(seen).items() if key not in ("heights", "ranked")}
    return {**facts, "usable": seen.usable}


def _tell(split: str, seen: Overview) -> None:
    """Say what a split holds, and what a run will refuse of it."""
    ignored = f", {seen.ignored:,} more do not count" if seen.ignored else ""
    held = f"{show.counted(seen.listed, 'image')} and {show.counted(seen.words, 'word')}"
    click.echo(f"{split}: {held} in format {seen.format}{ignored}")
    if seen.refused:
        click.echo(f"  {show.counted(len(seen.refused), 'image')} will be quarantined:")
    for name, why in list(seen.refused.items())[:_SHOWN]:
        click.echo(f"    {name}: {why}")
    if len(seen.refused) > _SHOWN:
        click.echo(f"    and {len(seen.refused) - _SHOWN} more")
    if seen.doubtful:
        click.echo(
            f"  nothing tells whether the labels of {shortened(seen.doubtful)} were drawn before or "
            "after the image was turned upright: add label_frame=raw or label_frame=upright"
        )
    if seen.unlabelled:
        click.echo(f"  no labels for {shortened(seen.unlabelled)}; they are no samples")
    for note in seen.notes:
        click.echo(f"  {note}")


def _tell_heights(heights: NDArray[np.float64], chosen: Suggestion) -> None:
    """Show what each canvas makes of the words' heights, and their distribution on the suggested one."""
    rows = [
        (
            side,
            f"{np.median(heights * side):.1f} px",
            f"{np.mean(heights * side < READABLE):.1%}",
            f"{BYTES_PER_PIXEL * side * side / 1e6:.1f}",
            "suggested" if side == chosen.canvas else "",
        )
        for side in CANVASES
    ]
    columns = ("canvas", "median height", f"lower than {READABLE:g} px", "MB/image", "")
    click.echo()
    show.table("the height of text on canvases", columns, rows)
    click.echo(f"\non {chosen.canvas} × {chosen.canvas}:")
    for line in histogram(heights * chosen.canvas):
        click.echo(line)
    click.echo(
        f"min_text_size {chosen.min_text_size}: lower words, {chosen.too_low:.1%}, are masked and not learnt"
    )
