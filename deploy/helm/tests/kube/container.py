"""Runs inside of a pod's fresh namespaces, as their first process: builds the root file system, gives up all rights
and becomes the container's program. Takes the name of a JSON file; waits for a line on standard input, sent when
that file and the network are there."""
import ctypes
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

PR_SET_NO_NEW_PRIVS = 38


def mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)


def root_file_system(spec: dict) -> Path:
    """The image's files with a writable layer on top, and the volumes in their places."""
    scratch = Path(spec["scratch"])
    mount("-t", "tmpfs", "scratch", str(scratch))
    for name in ("upper", "work", "root"):
        (scratch / name).mkdir()
    root = scratch / "root"
    layers = f"lowerdir={spec['image']},upperdir={scratch}/upper,workdir={scratch}/work"
    mount("-t", "overlay", "overlay", "-o", layers, str(root))
    for target in ("proc", "dev", "etc", *(target.lstrip("/") for _, target in spec["parts"]),
                   *(volume["target"].lstrip("/") for volume in spec["volumes"])):
        (root / target).mkdir(parents=True, exist_ok=True)
    (root / "etc/resolv.conf").unlink(missing_ok=True)
    (root / "etc/resolv.conf").write_text(spec["resolv_conf"])
    (root / "etc/hosts").unlink(missing_ok=True)
    (root / "etc/hosts").write_text("127.0.0.1 localhost\n")
    if spec["read_only"]:
        mount("-o", "remount,ro", str(root))
    mount("-t", "proc", "proc", str(root / "proc"))
    mount("--rbind", "/dev", str(root / "dev"))
    for source, target in spec["parts"]:
        mount("--bind", source, str(root) + target)
    for volume in spec["volumes"]:
        target = str(root) + volume["target"]
        mount("--bind", volume["source"], target)
        if volume["read_only"]:
            mount("-o", "remount,bind,ro", target)
    return root


def main() -> None:
    sys.stdin.readline()
    spec = json.loads(Path(sys.argv[1]).read_text())
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    os.chroot(root_file_system(spec))
    os.chdir(spec["directory"])
    os.setgroups([spec["group"]])
    os.setgid(spec["group"])
    os.setuid(spec["user"])
    ctypes.CDLL(None).prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    program = shutil.which(spec["argv"][0], path=spec["environment"].get("PATH", "/usr/bin:/bin"))
    if program is None:
        sys.exit(f"{spec['argv'][0]} is not in the image")
    os.execve(program, spec["argv"], spec["environment"])


main()
