"""The image that deploy/image/assemble.py makes, and that the Dockerfile makes the same."""
import gzip
import hashlib
import io
import json
import re
import subprocess
import sys
import tarfile
import tempfile
import unittest
from pathlib import Path

from chart import ROOT

ASSEMBLE = ROOT / "deploy/image/assemble.py"
# Any dynamically linked program serves: what is tested is the image around it.
BINARY = Path("/usr/bin/env")


def assemble(directory: str, name: str) -> Path:
    target = Path(directory) / name
    subprocess.run([sys.executable, ASSEMBLE, "oci", BINARY, target], check=True)
    return target


class Image(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.directory.cleanup)
        cls.archive = assemble(cls.directory.name, "image.tar")
        with tarfile.open(cls.archive) as tar:
            cls.files = {m.name: tar.extractfile(m).read() for m in tar if m.isfile()}
        cls.index = json.loads(cls.files["index.json"])
        cls.manifest = cls.json_blob(cls.index["manifests"][0])
        cls.config = cls.json_blob(cls.manifest["config"])
        cls.layers = [gzip.decompress(cls.blob(layer)) for layer in cls.manifest["layers"]]

    @classmethod
    def blob(cls, descriptor):
        data = cls.files["blobs/" + descriptor["digest"].replace(":", "/")]
        assert len(data) == descriptor["size"]
        assert descriptor["digest"] == "sha256:" + hashlib.sha256(data).hexdigest()
        return data

    @classmethod
    def json_blob(cls, descriptor):
        return json.loads(cls.blob(descriptor))

    def entries(self):
        return {m.name: m for layer in self.layers for m in tarfile.open(fileobj=io.BytesIO(layer))}

    def test_layout_is_complete_and_every_digest_is_right(self):
        self.assertEqual(json.loads(self.files["oci-layout"]), {"imageLayoutVersion": "1.0.0"})
        blobs = {name.removeprefix("blobs/sha256/") for name in self.files if name.startswith("blobs/")}
        named = {d["digest"].split(":")[1] for d in
                 [self.index["manifests"][0], self.manifest["config"], *self.manifest["layers"]]}
        self.assertEqual(blobs, named)
        for digest in blobs:
            self.assertEqual(hashlib.sha256(self.files[f"blobs/sha256/{digest}"]).hexdigest(), digest)
        self.assertEqual(self.config["rootfs"]["diff_ids"],
                         ["sha256:" + hashlib.sha256(layer).hexdigest() for layer in self.layers])

    def test_the_archive_can_be_loaded_by_older_engines_too(self):
        [docker] = json.loads(self.files["manifest.json"])
        self.assertEqual(json.loads(self.files[docker["Config"]]), self.config)
        self.assertEqual([gzip.decompress(self.files[name]) for name in docker["Layers"]], self.layers)
        self.assertRegex(docker["RepoTags"][0], r"^emet:\d+\.\d+\.\d+$")

    def test_the_same_input_gives_the_same_bytes(self):
        self.assertEqual(assemble(self.directory.name, "again.tar").read_bytes(), self.archive.read_bytes())

    def test_it_starts_emet_as_a_user_without_rights(self):
        config = self.config["config"]
        self.assertEqual(config["User"], "65532:65532")
        self.assertEqual(config["Entrypoint"], ["/usr/bin/emet"])
        self.assertTrue(self.entries()["usr/bin/emet"].mode & 0o111)

    def test_only_the_data_directory_belongs_to_the_user_and_nothing_is_setuid(self):
        owned = {name for name, m in self.entries().items() if m.uid != 0 or m.gid != 0}
        self.assertEqual(owned, {"var/lib/emet"})
        self.assertFalse([name for name, m in self.entries().items() if m.mode & 0o6000])
        writable = {name for name, m in self.entries().items() if m.mode & 0o002}
        self.assertEqual(writable, {"tmp"})

    def test_there_is_no_shell(self):
        programs = {name for name, m in self.entries().items() if m.isfile() and "/bin/" in f"/{name}"}
        self.assertEqual(programs, {"usr/bin/emet"})

    def test_the_dockerfile_says_the_same(self):
        final = (ROOT / "deploy/image/Dockerfile").read_text().split("FROM scratch")[1]
        config = self.config["config"]
        value = lambda word: re.search(rf"^{word} (.+)$", final, re.M)[1]  # noqa: E731
        self.assertEqual(value("USER"), config["User"])
        self.assertEqual(json.loads(value("ENTRYPOINT")), config["Entrypoint"])
        self.assertEqual(json.loads(value("CMD")), config["Cmd"])
        self.assertEqual(value("ENV").split(), config["Env"])
        self.assertEqual(value("WORKDIR"), config["WorkingDir"])
        self.assertEqual({value("VOLUME"): {}}, config["Volumes"])
        self.assertEqual({value("EXPOSE"): {}}, config["ExposedPorts"])
        self.assertEqual(value("STOPSIGNAL"), config["StopSignal"])

    def test_chart_and_image_agree_on_version_and_user(self):
        chart = (ROOT / "deploy/helm/emet/Chart.yaml").read_text()
        self.assertEqual(re.search(r"^appVersion: (\S+)", chart, re.M)[1],
                         self.config["config"]["Labels"]["org.opencontainers.image.version"])
        pod = (ROOT / "deploy/helm/emet/templates/_pod.tpl").read_text()
        self.assertIn('"emet.podSecurity" ' + self.config["config"]["User"].split(":")[0], pod)


if __name__ == "__main__":
    unittest.main()
