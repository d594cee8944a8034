"""What tests and benchmarks share; it imports neither.

- Made data: `stores` (written by hand), `image_bytes`, `raster_bytes`, `labels` (annotation files), `pages`
  (batches for the detector), `toy` (stages for the engine), `receipt_labels` (of the public receipts).
- Independent implementations that results are held against: `map_reference`, `map_referees`, `referees`.
- `shell`, which types a command, and `reads`, which looks at what was read.
"""
