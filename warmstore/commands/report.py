"""The command that writes the report on a work folder."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from pipeline.files import write_aside
from warmstore import show
from warmstore.commands.status import looked_at
from warmstore.options import Invocation, run_options, writable

_PAGE = Path("report.html")


@click.command()
@run_options(looks=True)
@click.option(
    "--format",
    "form",
    type=click.Choice(["html", "md"]),
    help="A page, or Markdown for the terminal; by the suffix of --output, else html.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="The file to write: report.html otherwise, and Markdown to the terminal.",
)
def report(asked: Invocation, form: Literal["html", "md"] | None, output: Path | None) -> int:
    """Report on a work folder in one HTML file that needs no network: stages, images, labels, metrics.

    It shows what was quarantined and repaired, how large text is on the canvas, what is stored twice,
    every sample with its maps, and what trainings have found.

    \b
    Example:
      warmstore report --output report.html
      warmstore report --format md
    """
    from warmstore.report import as_json, collect, draw, render_markdown, render_page

    form = form or ("md" if output and output.suffix == ".md" else "html")
    path = output or (_PAGE if form == "html" and not asked.json else None)
    if path is not None:
        writable(path)
    found = collect(asked, *looked_at(asked))
    if asked.json:
        show.print_json(as_json(found))
        if path is None:
            return 0
    if form == "md":
        text = render_markdown(found)
    else:
        with show.progress() as progress:
            text = render_page(found, draw(asked, found, progress.begin))
    if path is None:
        click.echo(text)
        return 0
    data = f"{text}\n".encode(errors="replace")
    write_aside(path, data)
    if not asked.json:
        click.echo(f"report on {asked.config.work_dir} written to {path} ({show.size(len(data))})")
    return 0
