"""What tests and benchmarks share; it imports neither.

- Made data: `stores` (written by hand), `image_bytes`, `raster_bytes`, `labels` (annotation files), `pages`
  (batches for the detector), `toy` (stages for the engine), `receipt_labels` (of the public receipts),
  `written_labels` (words in the files of every importer), `mutated_labels` (and with a field changed).
- Independent implementations that results are held against: `map_reference`, `map_referees`, `referees`
  (and `polygon_clipper`, on which one of them runs).
- `shell`, which types a command; `reads`, `tensor_batches`, `online_samples`, `decoding`, `right_pixels`,
  `split_data` and `drawn_maps`, which look at what was read, computed, decoded, listed or drawn.
"""
