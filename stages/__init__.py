"""The stages of the preprocessing pipeline, one file each."""
