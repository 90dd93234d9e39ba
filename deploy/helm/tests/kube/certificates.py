"""A secret for mutual TLS, in the form that cert-manager gives it."""
import base64
import subprocess
import tempfile
from pathlib import Path

KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


def tls_secret(name: str, host: str) -> dict:
    """An authority, and a certificate of it for a host's name."""
    with tempfile.TemporaryDirectory() as directory:
        def openssl(*arguments: str) -> None:
            subprocess.run(["openssl", *arguments], cwd=directory, check=True, capture_output=True)

        openssl("req", "-x509", *KEY, "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=authority", "-days", "1")
        openssl("req", *KEY, "-keyout", "tls.key", "-out", "tls.csr", "-subj", f"/CN={host}",
                "-addext", f"subjectAltName=DNS:{host}")
        openssl("x509", "-req", "-in", "tls.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial",
                "-copy_extensions", "copy", "-days", "1", "-out", "tls.crt")
        data = {
            file: base64.b64encode((Path(directory) / file).read_bytes()).decode()
            for file in ("tls.crt", "tls.key", "ca.crt")
        }
    return {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": {"name": name}, "data": data}
