"""What a run has to do: sources, recipes, fingerprints, and which samples are stale and why."""

from pipeline.planning.freshness import Outlook, Pipeline, State, survey
from pipeline.planning.plan import COMPUTE, REJECTED, StagePlan, Verdict, why_stale
from pipeline.planning.recipe import (
    full_recipe,
    full_recipe_changes,
    recipe_changes,
    recipe_digest,
    recipe_of,
)
from pipeline.planning.reuse import packed_samples, spare
from pipeline.planning.source import FileHashes, Source, SourceSample
