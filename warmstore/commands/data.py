"""The command that draws the embedded synthetic receipts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import click

from pipeline.errors import ConfigError, shortened
from pipeline.files import checksum
from warmstore import show
from warmstore.configuration import COMMAND_LINE, RunConfig
from warmstore.options import Invocation, run_options

_STAMP = ".generated.json"
"""In the root of the synthetic receipts: what they were drawn with, and whether that came to its end."""


@click.command()
@run_options()
@click.option("--train", type=click.IntRange(min=0), help="Number of training images.")
@click.option("--val", type=click.IntRange(min=0), help="Number of validation images.")
def data(asked: Invocation, train: int | None, val: int | None) -> int:
    """Draw the embedded synthetic receipts; does nothing where they are drawn already.

    Other numbers draw them anew, unless some of the files were changed meanwhile.

    \b
    Example:
      warmstore data --train 200 --val 50
    """
    if asked.config.data.generate is None:
        raise ConfigError(
            f"run {asked.composed.name} has its own data set at {asked.config.data.root}: nothing to draw"
        )
    counts = draw_receipts(asked.config, train, val)
    result = {"root": str(asked.config.data.root), **counts}
    if asked.json:
        show.print_json(result)
    else:
        click.echo(f"{counts['train']} training and {counts['val']} validation receipts in {result['root']}")
    return 0


def draw_receipts(config: RunConfig, train: int | None = None, val: int | None = None) -> dict[str, int]:
    """Draw the receipts that the configuration asks for, unless they are there; gives their numbers.

    Raises ConfigError where drawing would replace files that it has not drawn, or that were changed since.
    """
    from ocr.synthetic import generate

    wanted, root = config.data.generate, config.data.root
    assert wanted is not None
    counts = {"train": wanted.train if train is None else train, "val": wanted.val if val is None else val}
    stamp, drawn = root / _STAMP, {**wanted.model_dump(mode="json"), **counts}
    if not stamp.is_file() and root.is_dir() and any(root.iterdir()):
        raise ConfigError(
            f"{root} holds files that were not drawn by `warmstore data`, and some could be replaced; "
            "set data.root=… to a new or an empty folder"
        )
    known = json.loads(stamp.read_text()) if stamp.is_file() else {}
    files = known.pop("files", None)
    if known != drawn:
        changed = _changed(root, files) if files is not None else []
        if changed:
            raise ConfigError(
                f"{shortened(changed)} in {root} changed since they were drawn, and drawing others would"
                " replace them; move them elsewhere, or set data.root=… to a new folder"
            )
        root.mkdir(parents=True, exist_ok=True)
        stamp.write_text(json.dumps({**drawn, "unfinished": True}))
        with show.progress() as progress:
            bars = {split: progress.begin(split, "receipts", count) for split, count in counts.items()}
            generate(
                root, **counts, seed=wanted.seed, size=wanted.size, report=lambda split, _: bars[split](1)
            )
        stamp.write_text(json.dumps({**drawn, "files": _drawn(root)}))
    return counts


def _drawn(root: Path) -> dict[str, str]:
    """Give the checksums of the files that drawing replaces, by their paths below `root`."""
    patterns = [f"{split}{rest}" for split in ("train", "val") for rest in (".json", "/receipt-*.jpg")]
    paths = [path for pattern in patterns for path in sorted(root.glob(pattern))]
    return {path.relative_to(root).as_posix(): checksum(path)[1] for path in paths}


def _changed(root: Path, files: Mapping[str, str]) -> list[str]:
    """Name the files that drawing would replace and that are not as they were drawn."""
    return [name for name, found in _drawn(root).items() if files.get(name) != found]


def draw_missing(asked: Invocation) -> None:
    """Draw the embedded receipts where no data set is configured; a root that a user typed is the user's.

    What was interrupted is drawn as it was asked for then.
    """
    root, own_root = asked.config.data.root, asked.composed.origin("data.root") == COMMAND_LINE
    if asked.config.data.generate is None or own_root:
        return
    stamp = root / _STAMP
    begun = json.loads(stamp.read_text()) if stamp.is_file() else {}
    if begun.get("unfinished") or not root.exists():
        draw_receipts(asked.config, begun.get("train"), begun.get("val"))
