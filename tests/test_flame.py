"""A flame graph keeps what says something: our functions, one frame for Lightning, threads by their work."""

from __future__ import annotations

from xml.etree import ElementTree

from benchmarks.flame import WIDTH, draw_flames

LOOP = "thread (1): MainThread;main (epoch.py:9);_EvaluationLoop.run (pytorch_lightning/loops/loop.py:1)"
HOOK = "hook (pytorch_lightning/trainer/call.py:2)"
CALL = "Module._call_impl (torch/nn/modules/module.py:1)"
POOL, DECODE = "Thread.run (threading.py:5)", "BoxDecoder.<locals>.decode (ocr/detection/box_decoder.py"
STACKS = f"""\
thread (1): MainThread;main (epoch.py:9);setup (ocr/training/module.py:1) 90
{LOOP};{HOOK};DBNet.forward (ocr/model/dbnet.py:3);{CALL} 60
{LOOP};{HOOK};log (pytorch_lightning/core/module.py:3) 20
thread (7): overlap_0;{POOL};{DECODE}:4) 15
thread (8): overlap_1;{POOL};{DECODE}:9) 5
thread (8): overlap_1;{POOL};_worker (concurrent/futures/thread.py:4) 70
"""


def test_shares_are_those_of_the_samples() -> None:
    svg = "{http://www.w3.org/2000/svg}"
    drawn = {}
    for group in ElementTree.fromstring(draw_flames(STACKS)).iter(f"{svg}g"):
        told, rectangle = group.findtext(f"{svg}title"), group.find(f"{svg}rect")
        assert told and rectangle is not None
        drawn[told] = round((float(rectangle.get("width", 0)) + 0.6) / WIDTH, 2)
    assert drawn == {
        "an epoch's threads: 100.0%": 1.0,
        "main thread: 80.0%": 0.8,
        "DBNet: 60.0%": 0.6,
        "pool: loss, boxes, metric: 20.0%": 0.2,
        "BoxDecoder.decode: 20.0%": 0.2,
    }


def test_nothing_seen_is_no_picture() -> None:
    assert draw_flames("") == ""
