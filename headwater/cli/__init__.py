"""The command line: one file a command. Commands import what they need when they run, so that `--help` is quick."""

from __future__ import annotations

import os
import signal
import sys

_STAYING = ("up", "collector", "processor", "destination")  # commands that run until a signal ends them


def main() -> None:
    """The command `headwater`: runs one command and exits with a code of `headwater.run.exits`."""
    if sys.argv[1:2] and sys.argv[1] in _STAYING:
        # before the imports, which take longer than an impatient operator: nothing has begun, so leaving is clean.
        # not by an exception, which is lost where Python cannot raise it (a weakref's callback, of which imports have many)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: os._exit(0))
    from headwater.cli.app import app
    from headwater.errors import HeadwaterError, unusable_path

    try:
        app(prog_name="headwater")
    except HeadwaterError as error:
        from headwater.cli.output import code_of, complain

        complain(str(error))
        sys.exit(code_of(error))
    except BrokenPipeError:  # `headwater tap | head`: the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        if (sentence := unusable_path(error)) is None:
            raise
        from headwater.cli.output import complain
        from headwater.run import exits

        complain(sentence)
        sys.exit(exits.FAILED)
