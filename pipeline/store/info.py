"""What a store says of itself: the attributes of its Zarr group, checked once and typed."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.errors import Remedy, StoreError
from pipeline.stage import Field, field_from_json

FORMAT_VERSION = 1
_REWRITE = Remedy("run", rest=" where it was made, to write it anew")


class Counts(BaseModel):
    """Samples of a split: accepted + quarantined = listed."""

    model_config = ConfigDict(frozen=True)

    accepted: int = 0
    listed: int = 0
    quarantined: int = 0


class StoreInfo(BaseModel):
    """A store's attributes, but for what a stage adds of its own (`mean` and `std`, for one).

    `inputs` names what the rows of the array `input` are digests of; `quarantined` holds a verdict each:
    sample_id, stage, code, reason.
    """

    model_config = ConfigDict(frozen=True)

    stage: str
    recipe: dict[str, Any]
    fields: tuple[Field, ...]
    inputs: tuple[str, ...]
    samples_per_chunk: int
    counts: Counts
    quarantined: tuple[dict[str, Any], ...]
    tallies: dict[str, dict[str, int]]

    @classmethod
    def read(cls, attributes: Mapping[str, Any], where: object) -> Self:
        """Read the attributes of the store `where`. Raises StoreError where another version wrote them."""
        version = attributes.get("format_version")
        if version != FORMAT_VERSION:
            raise StoreError(
                f"{where} has format version {version}, and {FORMAT_VERSION} is what is read here",
                _REWRITE,
            )
        try:
            fields = tuple(field_from_json(spelled) for spelled in attributes["fields"])
            return cls.model_validate({**attributes, "fields": fields})
        except (LookupError, TypeError, ValidationError) as error:
            raise StoreError(
                f"the attributes of {where} are not those of a store ({' '.join(str(error).split())})",
                _REWRITE,
            ) from None

    @cached_property
    def codes(self) -> dict[str, str]:
        """Codes of the verdicts, by sample."""
        return {verdict["sample_id"]: verdict["code"] for verdict in self.quarantined}
