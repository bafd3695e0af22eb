"""The workspace that `headwater init` writes: runs as it is, explains itself, and has fresh random write keys."""

from __future__ import annotations

import os
import re
import secrets
import tempfile
from pathlib import Path

_TEXT = """\
# Headwater workspace. `headwater check` validates it; a running Headwater takes changes over as soon as this is saved.
# Secrets: write ${{NAME}} for an environment variable, ${{NAME:-default}}, or file:PATH for the text of a file.
workspace: {name}

# Where events come from. Give an SDK the write key of its source. A source may have two keys while you rotate them.
sources:
  web: {{kind: browser, write_keys: [{web}]}}
  api: {{kind: server, write_keys: [{api}]}}
  # app: {{kind: mobile, write_keys: ["${{APP_KEY}}"]}}

# Where events go. `clickhouse` without a url is the engine inside Headwater.
destinations:
  warehouse: {{type: clickhouse}}
  # hook: {{type: webhook, url: "https://example.com/in", filter: 'type = "track"'}}

# Which source feeds which destination; without this, every source feeds every destination.
# connections:
#   - {{from: [web, api], to: [warehouse]}}

# What happens between the two. These are the defaults.
# processors:
#   dedupe: {{window_days: 7}}
#   bots: {{mode: flag}}                 # off, shadow, flag or drop
#   account: {{traits: [name, plan, industry, employees]}}

# collector:
#   trusted_proxies: [10.0.0.0/8]      # whose X-Forwarded-For is believed
"""


def render(name: str) -> str:
    """The text, with fresh keys."""
    return _TEXT.format(
        name=name, web=f"wk_web_{secrets.token_hex(12)}", api=f"wk_api_{secrets.token_hex(12)}"
    )


def name_from(folder: Path) -> str:
    """A legal workspace name from a folder's name."""
    name = re.sub(r"[^a-z0-9_-]+", "-", folder.name.lower()).strip("-_")[:63]
    return name if re.match(r"[a-z]", name) else "headwater"


def write_new(file: Path) -> None:
    """Write a workspace that only its owner can read, whole or not at all.

    Raises FileExistsError rather than overwrite one.
    """
    if file.exists():
        raise FileExistsError(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor, draft = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")  # made with mode 0600
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(render(name_from(file.absolute().parent)))
            stream.flush()
            os.fsync(stream.fileno())
        _give_name(Path(draft), file)
    finally:
        Path(draft).unlink(missing_ok=True)


def _give_name(draft: Path, file: Path) -> None:
    try:
        file.hardlink_to(draft)  # unlike a rename, this never replaces a file
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if os.path.lexists(file):
            raise FileExistsError(file) from None
        draft.rename(file)
