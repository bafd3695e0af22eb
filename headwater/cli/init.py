"""`headwater init`: a commented workspace with fresh keys; asks nothing, overwrites nothing."""

from __future__ import annotations

import shlex
from pathlib import Path

from headwater.cli import options
from headwater.cli.output import emit_json, leave
from headwater.paths import WORKSPACE_FILE
from headwater.run import exits


def init(workspace: options.WorkspaceFile = None, json_: options.Json = False) -> None:
    """Write a workspace with fresh write keys to ./headwater.yaml (or --workspace)."""
    from headwater.workspace.outline import outline
    from headwater.workspace.template import write_new

    file = Path(workspace or WORKSPACE_FILE)
    try:
        write_new(file)
    except FileExistsError:
        leave(exits.FAILED, f"{file} exists and stays as it is; name another with --workspace")
    except OSError as error:
        leave(exits.FAILED, f"cannot write {file}: {error.strerror}")
    keys = {name: list(source.write_keys) for name, source in outline(file).sources.items()}
    if json_:
        emit_json({"workspace": str(file), "write_keys": keys})
        return
    print(f"wrote {file}")
    for name, found in keys.items():
        print(f"  write key of {name}: {found[0]}")
    named = f" --workspace {shlex.quote(str(file))}" if file != Path(WORKSPACE_FILE) else ""
    print(f"next: headwater up{named}")
