"""Importing this prepares `decode`: processes that are forked afterwards have its loops, and compile none."""

from stages.decode import Decode

Decode().prepare()
