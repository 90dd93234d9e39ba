"""The built `emet`."""
import os
import re
import subprocess
from pathlib import Path

from chart import ROOT


def next_release(minors: int) -> tuple[str, Path]:
    """Version and binary of the same sources built as a later minor version (`make test-helm` builds them)."""
    major, minor, _ = emet_version(emet()).split(".")
    version = f"{major}.{int(minor) + minors}.0"
    binary = ROOT / f"target/tools/releases/emet-{version}"
    if not binary.exists() or emet_version(binary) != version:
        raise RuntimeError(f"build {binary} first: scripts/build-releases.sh")
    return version, binary


def emet_version(binary: Path) -> str:
    return subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout.split()[1]


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
