"""The commands of the command line, a file for each purpose, and the table that names them.

A command's module is imported when it is called; help and completion of names need the table alone.
"""

from __future__ import annotations

from importlib import import_module

import click

from pipeline.collector import collector_paused

PURPOSES = {
    "Start": {
        "init": ("init", "Look at your images and labels, and write a configuration for them."),
        "data": ("data", "Draw the embedded synthetic receipts."),
        "config": ("status", "Print what a run resolves to, and where each value came from."),
        "doctor": ("status", "Say what this machine offers: libraries, memory, limits, the device."),
    },
    "Build stores": {
        "run": ("run", "Bring stages up to date: all of them, or those that are named."),
        "plan": ("status", "Say what `run` would do, and change nothing."),
        "status": ("status", "Show every store: its samples, its size, whether it is fresh, and why not."),
        "explain": ("status", "Say what changed of one sample, and which stages compute it again."),
    },
    "Look at stores": {
        "inspect": ("inspect", "Show what a split's stores, labels and frames hold."),
        "report": ("report", "Report on images, labels, stores and metrics in one HTML page."),
        "diff": ("maintain", "Say what differs between two stores."),
    },
    "Keep stores sound": {
        "verify": ("verify", "Check files against their checksums, and samples against their source."),
        "repair": ("maintain", "Build what is damaged or missing anew."),
        "gc": ("maintain", "Remove old generations and runs that nobody reads."),
    },
    "Bring stores elsewhere": {
        "push": ("buckets", "Bring stores into a bucket or a shared folder."),
        "pull": ("buckets", "Bring stores from there into the work folder."),
    },
    "Train and use a detector": {
        "train": ("train", "Train a detector and validate its best checkpoint."),
        "validate": ("train", "Compute the metric of a checkpoint."),
        "predict": ("predict", "Find the text on images, and write it as labels and pictures."),
        "export": ("predict", "Write a checkpoint as an ONNX model."),
        "score": ("score", "Compute the metric of what any detector wrote into a file."),
    },
    "Measure": {
        "ceiling": ("evaluate", "Tell what any detector could reach on a canvas, before training one."),
        "precision": ("evaluate", "Compare the metric of one checkpoint in several precisions."),
        "bench": ("bench", "Measure whole validation epochs on your data."),
    },
}
"""By purpose: the name of each command, the module that holds it, and what it does in a sentence."""

_KNOWN = {name: entry for commands in PURPOSES.values() for name, entry in commands.items()}


class Commands(click.Group):
    """The group of all commands."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the commands, in the order of the table."""
        return list(_KNOWN)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; None where there is none of that name."""
        if cmd_name not in _KNOWN:
            return None
        with collector_paused():
            module = import_module(f"{__name__}.{_KNOWN[cmd_name][0]}")
        command = getattr(module, cmd_name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table."""
        width = max(map(len, _KNOWN))
        for purpose, commands in PURPOSES.items():
            with formatter.section(purpose):
                formatter.write_dl([(name.ljust(width), told) for name, (_, told) in commands.items()])
