"""Importing this prepares `maps`: processes that are forked afterwards have its loops, and compile none."""

from stages.maps import Maps

Maps().prepare()
