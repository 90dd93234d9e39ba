"""A client of the REST API, and one that never stops calling."""
import http.client
import json
import threading
import time
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

    def call(self, component: str, worker: str, function: str, number: int) -> int:
        """Calls a function from number to number."""
        path = (f"/v1/components/{component}/workers/{worker}/invoke-and-await"
                f"?function={urllib.parse.quote(function, safe='')}")
        body = json.dumps({"params": [{"typ": {"type": "U64"}, "value": number}]}).encode()
        return self.request("POST", path, body)["result"]["value"][0]

    def add(self, component: str, worker: str, amount: int) -> int:
        """Adds to the counter of a worker; the sum."""
        return self.call(component, worker, "test:counter/api.{add}", amount)

    def sleep(self, component: str, worker: str, milliseconds: int) -> int:
        """Lets a worker sleep; how long it did, in milliseconds."""
        return self.call(component, worker, "test:clocks/api.{sleep-ms}", milliseconds)


class Load:
    """Threads that call without pause, each its own workers, never twice, and check every answer. Some of them make calls
    that last, so that there are always some under way."""

    # Longer than a pod waits for proxies, so that these calls do see pods that stop.
    LASTING_MS = 12_000

    def __init__(self, client: Client, counter: str, clocks: str, threads: int = 4, lasting: int = 3):
        self.client, self.counter, self.clocks = client, counter, clocks
        self.calls, self.lasting_calls, self.longest, self.failures = 0, 0, 0.0, []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._count, args=(i,)) for i in range(threads)]
        self._threads += [threading.Thread(target=self._last, args=(i,)) for i in range(lasting)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _count(self, number: int) -> None:
        counts = [0] * 5
        while not self._stop.is_set():
            for worker in range(len(counts)):
                started = time.monotonic()
                try:
                    answer = self.client.add(self.counter, f"load-{id(self)}-{number}-{worker}", 1)
                    counts[worker] += 1
                    if answer != counts[worker]:
                        self.failures.append(f"call {counts[worker]} of {number}-{worker} was answered {answer}")
                except (OSError, http.client.HTTPException) as error:
                    self.failures.append(f"{number}-{worker}: {error}")
                self.calls += 1
                self.longest = max(self.longest, time.monotonic() - started)

    def _last(self, number: int) -> None:
        # Not all at the same time.
        self._stop.wait(number * self.LASTING_MS / 3000)
        while not self._stop.is_set():
            try:
                slept = self.client.sleep(self.clocks, f"last-{id(self)}-{number}", self.LASTING_MS)
                if slept < self.LASTING_MS:
                    self.failures.append(f"a call of {self.LASTING_MS} ms ended after {slept} ms")
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(f"a call that lasts: {error}")
            self.lasting_calls += 1
