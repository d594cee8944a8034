"""The engine: stages, stores, fingerprints, runs. It knows nothing of OCR."""
