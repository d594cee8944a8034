"""Stores in buckets: pushed, pulled, checked and tidied."""

from pipeline.remote.pull import Pulled, origin, pull
from pipeline.remote.push import Pushed, push
from pipeline.remote.upkeep import collect_in_bucket, verify_in_bucket
