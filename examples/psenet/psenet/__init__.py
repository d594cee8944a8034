"""A text detector in a package of its own, which warmstore finds by its entry point."""
