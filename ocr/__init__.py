"""The domain: annotations, images, maps, datasets, the detector and its metrics."""
