"""Commands that bring stores into a bucket and back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import click

from pipeline.errors import ConfigError, PipelineError, Remedy
from pipeline.stage import Stage
from pipeline.store import Bucket, BucketStore, is_url
from pipeline.workspace import Generations, exclusive
from warmstore import show
from warmstore.options import Invocation, run_options


@click.command()
@run_options(words="URL [STAGE]", looks=True)
@click.option("--check", is_flag=True, help="Read back what lies there, and send again what is damaged.")
def push(asked: Invocation, check: bool) -> int:
    """Bring stores into a bucket (s3://, gs://, az://) or a shared folder (file://): only what it lacks.

    Without a stage, the store that training reads: tensors. A push that was interrupted goes on.

    \b
    Example:
      warmstore push s3://receipts/v3
      warmstore push s3://receipts/v3 canonicalize tensors --split val
    """
    from pipeline.remote import push as bring

    bucket, stages = _bucket_and_stages(asked)
    results = {}
    with show.progress() as progress:
        for target, generations in _stores(asked, bucket, stages):
            store = generations.open()
            if store is None:
                raise PipelineError(f"there is no {generations}", Remedy("run"))
            split = generations.workspace.split
            with store:
                advance = progress.begin(split, store.stage, len(store.manifest.files))
                results[target.name] = bring(store, target, advance, check)
    return _print(asked, f"push to {bucket.url}", results, sent="sent", copied="copied there")


@click.command()
@run_options(words="URL [STAGE]")
def pull(asked: Invocation) -> int:
    """Bring stores from a bucket into the work folder: fetched aside, checked, published by a rename.

    Without a stage, the store that training reads: tensors. A pull that was interrupted goes on. Without
    --split, of all splits that the bucket has.

    \b
    Example:
      warmstore pull s3://receipts/v3 --split val
    """
    from pipeline.remote import pull as bring

    bucket, stages = _bucket_and_stages(asked)
    chosen = list(_stores(asked, bucket, stages))
    if "--split" not in asked.typed:
        chosen = [(source, place) for source, place in chosen if source.current()] or chosen
    results = {}
    with exclusive(asked.config.work_dir, "warmstore pull"), show.progress() as progress:
        for source, generations in chosen:
            split, stage = generations.workspace.split, generations.stage.name
            results[source.name] = bring(source, generations, partial(progress.begin, split, stage))
    return _print(asked, f"pull from {bucket.url}", results, fetched="fetched", linked="linked")


def stores_in(asked: Invocation, url: str) -> list[BucketStore]:
    """Give the stores of the run that a bucket has. Raises PipelineError where it has none."""
    bucket, stages = Bucket(url), asked.config.stages.in_order()
    found = [source for source, _ in _stores(asked, bucket, stages) if source.current() is not None]
    if not found:
        splits = " or ".join(asked.splits)
        raise PipelineError(f"{url} has no store of split {splits}", Remedy("push", (url,)))
    return found


def _bucket_and_stages(asked: Invocation) -> tuple[Bucket, list[Stage]]:
    """Give the bucket and the stages that were typed; of stages, tensors where none was."""
    url, *names = asked.words or ("",)
    if not is_url(url):
        raise ConfigError("give the URL of a bucket first, such as s3://receipts/v3 or file:///mnt/stores")
    return Bucket(url), asked.config.stages.named(names or ["tensors"])


def _stores(
    asked: Invocation, bucket: Bucket, stages: Sequence[Stage]
) -> Iterator[tuple[BucketStore, Generations]]:
    """Give each store of the splits asked for, there and here."""
    for split in asked.splits:
        for stage in stages:
            yield (
                BucketStore(bucket, f"{split}/{stage.store}"),
                asked.config.workspace(split).generations(stage),
            )


def _print(asked: Invocation, title: str, results: Mapping[str, Any], **counts: str) -> int:
    """Print what was brought, a row a store; `counts` are further fields and the names of their columns."""
    if asked.json:
        show.print_json({name: result.as_json() for name, result in results.items()})
        return 0
    rows = [
        (name, one.digest[:8], one.files, show.size(one.bytes), *(getattr(one, count) for count in counts))
        for name, one in results.items()
    ]
    show.table(title, ("store", "digest", "files", "size", *counts.values()), rows)
    return 0
