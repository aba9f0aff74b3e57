#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A test program where /dev/shm holds 1 MiB, as in many containers.

libdml shares memory without it; nothing may fail, or become a bus error. Needs a mount
namespace of its own, else it is skipped. Arguments: LAUNCHER PROGRAM NRANKS [WORDS...]
"""

import subprocess
import sys

SKIP = 77  # Meson's exit status for a test that could not run
MOUNT = "mount -t tmpfs -o size=1m none /dev/shm"


def main():
    launcher, program, nranks, *words = sys.argv[1:]
    own = ["unshare", "--mount", "sh", "-c"]
    try:
        permitted = subprocess.run([*own, MOUNT], capture_output=True, check=False)
    except FileNotFoundError:
        permitted = None
    if permitted is None or permitted.returncode != 0:
        print("skipped: a file system cannot be mounted here")
        print("0 passed, 0 failed, 1 skipped")
        return SKIP
    job = subprocess.run([*own, MOUNT + ' && exec "$@"', "sh", launcher, "-n", nranks,
                          program, *words], check=False)
    return job.returncode


if __name__ == "__main__":
    sys.exit(main())
