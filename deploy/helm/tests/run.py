#!/usr/bin/env python3
"""Runs the tests of the named modules (default: all that need no API server), and prints the counts.

As root it first enters fresh network, mount and process namespaces: what the tests start lives there and ends with
them. Where that is not permitted, the tests that start processes are skipped, and the last line counts them.
"""
import os
import subprocess
import sys
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
SEPARATE = {"test_apiserver"}


def enter_namespaces() -> None:
    if "EMET_TEST_NAMESPACES" in os.environ:
        return
    unshare = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    probe = subprocess.run([*unshare, "true"], capture_output=True, text=True)
    if probe.returncode != 0:
        print(f"no namespaces ({probe.stderr.strip()}): tests that run pods are skipped; they need root", file=sys.stderr)
        return
    os.environ["EMET_TEST_NAMESPACES"] = "1"
    os.execvp("unshare", [*unshare, sys.executable, *sys.argv])


class Result(unittest.TextTestResult):
    """Says at once what went wrong."""

    def addError(self, test, err):
        super().addError(test, err)
        self.stream.writeln(self.errors[-1][1])

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.stream.writeln(self.failures[-1][1])


def main() -> int:
    enter_namespaces()
    sys.path.insert(0, str(HERE))
    names = sys.argv[1:] or sorted(p.stem for p in HERE.glob("test_*.py") if p.stem not in SEPARATE)
    suite = unittest.defaultTestLoader.loadTestsFromNames(names)
    result = unittest.TextTestRunner(verbosity=2, resultclass=Result).run(suite)
    failed = len({test.id().split(" ")[0] for test, _ in result.failures + result.errors})
    skipped = len(result.skipped)
    print(f"{max(result.testsRun - failed - skipped, 0)} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    return 0 if result.wasSuccessful() and result.testsRun else 1


if __name__ == "__main__":
    sys.exit(main())
