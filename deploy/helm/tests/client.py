"""A client of the REST API, and one that never stops calling."""
import http.client
import json
import threading
import urllib.error
import urllib.parse
import urllib.request
import uuid
from pathlib import Path


class Client:
    """Calls the API with a token. A new connection for every call, so that each meets the Service anew."""

    def __init__(self, url: str, token: str | None):
        self.url, self.token = url, token

    def request(self, method: str, path: str, body: bytes | None = None, kind: str = "application/json"):
        headers = {"Content-Type": kind} | ({"Authorization": f"Bearer {self.token}"} if self.token else {})
        request = urllib.request.Request(self.url + path, body, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            error.msg += f": {error.read().decode(errors='replace')}"
            raise

    def upload(self, name: str, wasm: Path) -> str:
        """Adds a component; its id."""
        boundary = uuid.uuid4().hex
        parts = (('name"', name.encode()), ('component"; filename="component.wasm"', wasm.read_bytes()))
        body = b"".join(
            f'--{boundary}\r\nContent-Disposition: form-data; name="{head}\r\n\r\n'.encode() + data + b"\r\n"
            for head, data in parts) + f"--{boundary}--\r\n".encode()
        answer = self.request("POST", "/v1/components", body, f"multipart/form-data; boundary={boundary}")
        return answer["versionedComponentId"]["componentId"]

    def add(self, component: str, worker: str, amount: int) -> int:
        """Adds to the counter of a worker; the sum."""
        function = urllib.parse.quote("test:counter/api.{add}", safe="")
        path = f"/v1/components/{component}/workers/{worker}/invoke-and-await?function={function}"
        body = json.dumps({"params": [{"typ": {"type": "U64"}, "value": amount}]}).encode()
        return self.request("POST", path, body)["result"]["value"][0]


class Load:
    """Threads that call without pause, each its own workers, never twice, and check every answer."""

    def __init__(self, client: Client, component: str, threads: int = 4):
        self.client, self.component, self.calls, self.failures = client, component, 0, []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(i,)) for i in range(threads)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self, number: int) -> None:
        counts = [0] * 5
        while not self._stop.is_set():
            for worker in range(len(counts)):
                try:
                    answer = self.client.add(self.component, f"load-{number}-{worker}", 1)
                    counts[worker] += 1
                    if answer != counts[worker]:
                        self.failures.append(f"call {counts[worker]} of {number}-{worker} was answered {answer}")
                except (OSError, http.client.HTTPException) as error:
                    self.failures.append(f"{number}-{worker}: {error}")
                self.calls += 1
