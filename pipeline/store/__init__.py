"""A store: its format on disk, and reading one generation of it, verified."""

from pipeline.store.bucket import Bucket, ObjectMissing, is_url
from pipeline.store.bucket_store import GROUP, BucketStore
from pipeline.store.codecs import codec_versions, decode, encode
from pipeline.store.damage import in_words, lost_samples, misfits, serving
from pipeline.store.info import FORMAT_VERSION, Counts
from pipeline.store.locks import hold_current, unused
from pipeline.store.manifest import MANIFEST, Manifest, read_manifest, scan
from pipeline.store.notebook import show, stored_pixels, thumbnails
from pipeline.store.reader import Store, open_store
from pipeline.store.rows import read_rows
from pipeline.store.values import (
    Bytes,
    Parts,
    check_field_names,
    check_values,
    item_bytes,
    value_digest,
    value_parts,
)
from pipeline.store.zarr_metadata import (
    array_metadata,
    chunk_key,
    dump,
    encode_text,
    group_metadata,
    samples_per_chunk,
)
