"""The built `emet`."""
import os
import re
import subprocess
from pathlib import Path

from chart import ROOT


def emet() -> Path:
    """$EMET_BIN, or the newest under target."""
    built = [p for p in (ROOT / "target/debug/emet", ROOT / "target/release/emet") if p.exists()]
    chosen = os.environ.get("EMET_BIN") or max(built, key=lambda p: p.stat().st_mtime, default=None)
    if chosen is None:
        raise RuntimeError("build emet first: cargo build -p emet")
    return Path(chosen).absolute()


def help_of(*command: str) -> str:
    return subprocess.run([emet(), *command, "--help"], capture_output=True, text=True, check=True).stdout


def variables(*command: str) -> set[str]:
    """Emet's environment variables that the help of a command names."""
    return set(re.findall(r"\b(?:EMET_\w+)", help_of(*command)))
