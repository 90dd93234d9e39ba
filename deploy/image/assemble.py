#!/usr/bin/env python3
"""Makes the container image of Emet from a built binary, without a container engine.

  assemble.py oci BINARY FILE.tar    an OCI image layout that `docker load` and `podman load` take as well
  assemble.py rootfs BINARY DIR      only the files, for the Dockerfile

The image holds the binary, the shared libraries it names, certificate authorities, and nothing else: no shell, no
package manager. The same input gives the same bytes: names sorted, owners fixed, times SOURCE_DATE_EPOCH (or 0).
"""
import gzip
import hashlib
import io
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
USER = 65532
EPOCH = int(os.environ.get("SOURCE_DATE_EPOCH", "0"))
AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
TEXTS = {
    "etc/passwd": f"root:x:0:0:root:/:/sbin/nologin\nemet:x:{USER}:{USER}:emet:/var/lib/emet:/sbin/nologin\n",
    "etc/group": f"root:x:0:\nemet:x:{USER}:\n",
    "etc/nsswitch.conf": "hosts: files dns\n",
}
# Directories that pods mount something on; only /var/lib/emet belongs to the user.
DIRECTORIES = {"tmp": (0o1777, 0), "var/lib/emet": (0o700, USER)}
# What a container is started with; the Dockerfile says the same.
CONFIG = {
    "User": f"{USER}:{USER}",
    "Entrypoint": ["/usr/bin/emet"],
    "Cmd": ["server"],
    "Env": ["PATH=/usr/bin", "EMET_DATA_DIR=/var/lib/emet"],
    "WorkingDir": "/var/lib/emet",
    "Volumes": {"/var/lib/emet": {}},
    "ExposedPorts": {"9881/tcp": {}},
    "StopSignal": "SIGTERM",
}


def version() -> str:
    return re.search(r'^version = "(.+)"', (ROOT / "Cargo.toml").read_text(), re.M)[1]


def libraries(binary: Path) -> list[Path]:
    """The shared libraries of a binary, the dynamic loader among them; none of a static one."""
    run = subprocess.run(["ldd", binary], capture_output=True, text=True)
    return sorted(Path(p) for p in re.findall(r"(/\S+) \(0x", run.stdout))


def base_files(binary: Path) -> dict[str, bytes]:
    """Everything but the binary: what changes rarely, and is a layer of its own."""
    files = {name: text.encode() for name, text in TEXTS.items()}
    files["etc/ssl/certs/ca-certificates.crt"] = AUTHORITIES.read_bytes()
    files["usr/share/doc/emet/LICENSE"] = (ROOT / "LICENSE").read_bytes()
    for library in libraries(binary):
        files[str(library).lstrip("/")] = library.resolve().read_bytes()
    return files


def layer(files: dict[str, bytes], directories: dict[str, tuple[int, int]]) -> bytes:
    """An uncompressed tar of files and the directories they are in."""
    parents = {str(p) for name in [*files, *directories] for p in Path(name).parents} - {"."}
    entries = {name: (0o755, 0, None) for name in parents}
    entries |= {name: (mode, owner, None) for name, (mode, owner) in directories.items()}
    entries |= {name: (0o755 if is_executable(name) else 0o644, 0, data) for name, data in files.items()}
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, (mode, owner, data) in sorted(entries.items()):
            info = tarfile.TarInfo(name)
            info.mode, info.uid, info.gid, info.mtime = mode, owner, owner, EPOCH
            info.type = tarfile.DIRTYPE if data is None else tarfile.REGTYPE
            info.size = len(data or b"")
            tar.addfile(info, io.BytesIO(data or b""))
    return out.getvalue()


def is_executable(name: str) -> bool:
    return name.startswith("usr/bin/") or ".so" in name


class Layout:
    """An OCI image layout in the making: blobs named by their digests."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}

    def add(self, media_type: str, data: bytes) -> dict:
        digest = hashlib.sha256(data).hexdigest()
        self.blobs[f"blobs/sha256/{digest}"] = data
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}

    def add_json(self, media_type: str, value: dict) -> dict:
        return self.add(media_type, json.dumps(value, sort_keys=True, separators=(",", ":")).encode())


def blob_path(descriptor: dict) -> str:
    return "blobs/" + descriptor["digest"].replace(":", "/")


def image(binary: Path) -> dict[str, bytes]:
    """The files of the image layout."""
    layout = Layout()
    tars = [layer(base_files(binary), DIRECTORIES), layer({"usr/bin/emet": binary.read_bytes()}, {})]
    layers = [
        layout.add("application/vnd.oci.image.layer.v1.tar+gzip", gzip.compress(tar, 6, mtime=0)) for tar in tars
    ]
    architecture = ARCHITECTURES[platform.machine()]
    labels = {
        "org.opencontainers.image.title": "emet",
        "org.opencontainers.image.version": version(),
        "org.opencontainers.image.licenses": "Apache-2.0",
    }
    config = layout.add_json("application/vnd.oci.image.config.v1+json", {
        "architecture": architecture,
        "os": "linux",
        "config": CONFIG | {"Labels": labels},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(tar).hexdigest()}" for tar in tars]},
    })
    manifest = layout.add_json("application/vnd.oci.image.manifest.v1+json", {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": config,
        "layers": layers,
    })
    tag = f"emet:{version()}"
    names = {"io.containerd.image.name": tag, "org.opencontainers.image.ref.name": version()}
    platform_ = {"architecture": architecture, "os": "linux"}
    index = {"schemaVersion": 2, "manifests": [manifest | {"annotations": names, "platform": platform_}]}
    # The older format of `docker load`, beside the layout and on the same blobs.
    docker = [{"Config": blob_path(config), "RepoTags": [tag], "Layers": [blob_path(one) for one in layers]}]
    return layout.blobs | {
        "oci-layout": b'{"imageLayoutVersion":"1.0.0"}',
        "index.json": json.dumps(index, sort_keys=True).encode(),
        "manifest.json": json.dumps(docker, sort_keys=True).encode(),
    }


def write_rootfs(binary: Path, target: Path) -> None:
    for name, data in base_files(binary).items():
        file = target / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        file.chmod(0o755 if is_executable(name) else 0o644)
    (target / "usr/bin").mkdir(parents=True, exist_ok=True)
    shutil.copyfile(binary, target / "usr/bin/emet")
    (target / "usr/bin/emet").chmod(0o755)
    for name, (mode, _) in DIRECTORIES.items():
        (target / name).mkdir(parents=True, exist_ok=True)
        (target / name).chmod(mode)


def main() -> None:
    match sys.argv[1:]:
        case ["oci", binary, output]:
            Path(output).write_bytes(layer(image(Path(binary)), {}))
        case ["rootfs", binary, output]:
            write_rootfs(Path(binary), Path(output))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
