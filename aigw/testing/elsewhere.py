"""Where root's tests put what PostgreSQL's unprivileged user has to reach, in the place of `/var/lib/aigw`."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile

VARIABLE = "AIGW_TEST_ELSEWHERE"


def elsewhere() -> str:
    """
    A folder for `EmbeddedSettings.elsewhere`: one for a run of the tests, gone with it.

    Copies of the programs are made there once. Processes that tests start find it in their environment.
    """
    if VARIABLE not in os.environ:
        folder = tempfile.mkdtemp(prefix="aigw-elsewhere-")
        os.chmod(folder, 0o755)  # noqa: S103 - only root can write there, and what matters in it is 0700
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        os.environ[VARIABLE] = folder
    return os.environ[VARIABLE]
