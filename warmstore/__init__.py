"""The command line of warmstore: the one place that wires pipeline, ocr and stages together."""
