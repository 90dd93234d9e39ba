"""Where the files of images come from: Emet's is assembled from the built binary, others are this machine's own."""
import gzip
import io
import json
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from chart import ROOT


@dataclass(frozen=True)
class Image:
    """A root file system, and what a container of it is started with."""
    root: Path
    entrypoint: tuple[str, ...]
    environment: tuple[tuple[str, str], ...]
    directory: str
    # Directories from elsewhere, and where they are in the image.
    parts: tuple[tuple[Path, str], ...] = ()


def emet(binary: Path, directory: Path) -> Image:
    """Assembles the image of a binary and unpacks it, as an engine would."""
    directory = Path(tempfile.mkdtemp(prefix="image-", dir=directory))
    directory.chmod(0o755)
    archive = directory / "emet.tar"
    subprocess.run([sys.executable, ROOT / "deploy/image/assemble.py", "oci", binary, archive], check=True)
    root = directory / "emet"
    with tarfile.open(archive) as tar:
        read = lambda digest: tar.extractfile("blobs/" + digest.replace(":", "/")).read()  # noqa: E731
        index = json.load(tar.extractfile("index.json"))
        manifest = json.loads(read(index["manifests"][0]["digest"]))
        config = json.loads(read(manifest["config"]["digest"]))["config"]
        for layer in manifest["layers"]:
            with tarfile.open(fileobj=io.BytesIO(gzip.decompress(read(layer["digest"])))) as files:
                files.extractall(root, filter="fully_trusted")
    archive.unlink()
    environment = tuple(tuple(variable.split("=", 1)) for variable in config["Env"])
    return Image(root, tuple(config["Entrypoint"]), environment, config["WorkingDir"])


def host(tools: Path) -> Image:
    """This machine's files, and a directory of programs installed for tests in a place that no volume hides."""
    path = "/opt/tools/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    return Image(Path("/"), (), (("PATH", path),), "/", ((tools, "/opt/tools"),))
