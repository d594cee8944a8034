"""The command `warmstore`: its commands, and how errors become one sentence and an exit code.

Exit codes: 0 fine, 1 the work failed or a check found something, 2 wrong usage or configuration: also
a name or a path that was typed and leads nowhere; 130 interrupted (143 by SIGTERM).
"""

from __future__ import annotations

import gc
import sys

import click

from pipeline.errors import ConfigError, PipelineError
from warmstore.commands import Commands
from warmstore.completion import put_no_space_behind_keys

_EPILOG = """\b
Most commands take --config RUN, --split NAME and KEY=VALUE overrides; `warmstore run --help` shows them.
To complete names with the tab key, put this into ~/.bashrc (for zsh write zsh_source, into ~/.zshrc):
  eval "$(_WARMSTORE_COMPLETE=bash_source warmstore)"
"""


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog=_EPILOG,
)
@click.version_option(package_name="warmstore")
def cli() -> None:
    """Preprocess photographed documents once, then validate at the speed of the model."""


def main() -> None:
    """Run the command line and exit with its code."""
    put_no_space_behind_keys()
    code = _run(sys.argv[1:])
    gc.freeze()  # a process that ends need not look for cycles among all that it holds
    sys.exit(code)


def _run(arguments: list[str]) -> int:
    debug = "--debug" in arguments
    try:
        return int(cli.main(arguments, prog_name="warmstore", standalone_mode=False) or 0)
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.ClickException as error:
        if debug:
            raise
        error.show()
        return 2
    except PipelineError as error:
        if debug:
            raise
        click.echo(f"warmstore: {error}", err=True)
        return 2 if isinstance(error, ConfigError) else 1
    except (KeyboardInterrupt, click.Abort) as stop:  # click makes an Abort of the other
        if debug:
            raise
        cause = stop.__cause__ or stop
        said = str(cause) or "interrupted; what is finished is kept, and the same command continues"
        click.echo(f"warmstore: {said}", err=True)
        return int(getattr(cause, "exit_code", 130))
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except OSError as error:
        if debug:
            raise
        where = f" ({error.filename})" if error.filename else ""
        click.echo(
            f"warmstore: {error.strerror or error}{where}; what was published stands: make room or mend "
            "the folder's rights, and run the same command again",
            err=True,
        )
        return 1
    except Exception as error:
        if debug:
            raise
        click.echo(
            f"warmstore: {type(error).__name__}: {error}; this is a fault of warmstore's: "
            "run the same command with --debug and report what it prints",
            err=True,
        )
        return 1
