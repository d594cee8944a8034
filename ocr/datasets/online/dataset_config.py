"""What `OnlineDataset` is told: the stages' parameters, and switches that each save the work they name."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

from pydantic import Field, field_validator, model_validator

from ocr.params import MapParams
from ocr.preprocess import CanonicalParams, DecodeParams, TensorParams
from pipeline.stage import Parameters


class OnlineParams(Parameters):
    """The parameters of the stages, whose work `OnlineDataset` does for one sample at a time."""

    canonicalize: CanonicalParams = CanonicalParams()
    decode: DecodeParams = DecodeParams()
    maps: MapParams = MapParams()
    tensors: TensorParams = TensorParams()


class CacheConfig(Parameters):
    """What is kept in memory after it was first computed; in memory that worker processes share.

    - `cache_images`: decoded pixels on the canvas.
    - `cache_maps`: the four maps.
    - `cache_transformed_tensors`: both, and so whole samples as they leave the dataset.
    - `log_statistics_every_n`: log hits, misses and waiting time every so many samples; 0 for never.
    """

    cache_images: bool = False
    cache_maps: bool = False
    cache_transformed_tensors: bool = False
    log_statistics_every_n: int = Field(default=0, ge=0)


class ImageLoadingConfig(Parameters):
    """Which decoder reads JPEG: TurboJPEG, Pillow where that refuses a file, or Pillow alone."""

    use_turbojpeg: bool = True
    turbojpeg_fallback: bool = True


class DatasetConfig(Parameters):
    """Where raw data lies, and what is done once instead of for every epoch.

    - `image_path`, `annotation_path`: a split's images and labels, as under `data.splits.<split>`.
    - `preload_images`: decode every image when the dataset is made, and keep the pixels in memory.
    - `load_maps`: read the maps from the store `maps_path` (`work/<split>/maps.zarr`) instead of
      drawing them; `preload_maps`: read them all when the dataset is made, and keep them in memory.
    - `prenormalize_images`: give images normalised, float32; preloaded or cached ones are kept so.
    """

    image_path: Path
    annotation_path: Path
    maps_path: Path | None = None
    preload_images: bool = False
    load_maps: bool = False
    preload_maps: bool = False
    prenormalize_images: bool = False
    cache_config: CacheConfig = CacheConfig()
    image_loading_config: ImageLoadingConfig = ImageLoadingConfig()

    @property
    def keeps_images(self) -> bool:
        """Whether images stay in memory."""
        cache = self.cache_config
        return self.preload_images or cache.cache_images or cache.cache_transformed_tensors

    @property
    def keeps_maps(self) -> bool:
        """Whether maps stay in memory."""
        cache = self.cache_config
        return self.preload_maps or cache.cache_maps or cache.cache_transformed_tensors

    def applied_to(self, params: OnlineParams) -> OnlineParams:
        """Give the stages' parameters with what the switches set."""
        decode = params.decode.model_copy(update=self.image_loading_config.model_dump())
        normalise = self.prenormalize_images and params.tensors.dtype == "uint8"
        tensors = params.tensors.model_copy(update={"dtype": "float32"} if normalise else {})
        return params.model_copy(update={"decode": decode, "tensors": tensors})

    @field_validator("image_path", "annotation_path", "maps_path", mode="before")
    @classmethod
    def _text_is_a_path(cls, value: Any) -> Any:
        return Path(value) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        """Refuse combinations in which a switch could not do what it says."""
        cache = self.cache_config
        if self.preload_maps and not self.load_maps:
            raise ValueError("preload_maps reads maps from a store ahead of time, so it needs load_maps=true")
        if self.load_maps and self.maps_path is None:
            raise ValueError("load_maps needs maps_path, the store that the stage maps writes")
        if self.preload_images and cache.cache_images:
            raise ValueError("preload_images keeps every image already: leave cache_images off")
        if self.preload_maps and cache.cache_maps:
            raise ValueError("preload_maps keeps every map already: leave cache_maps off")
        return self
