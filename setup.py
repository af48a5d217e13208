# SPDX-License-Identifier: Apache-2.0
"""Compiles every sfu/**/*.pyx; everything else about the distribution stands in pyproject.toml.

PYSFU_BUILD chooses how: `release` (default), `debug` (bounds checks, -Og -g) or `asan` (as debug, with AddressSanitizer
and UndefinedBehaviorSanitizer; see tools/asan.sh for how to run it). PYSFU_CYTHON_CACHE names a folder in which several
checkouts share what Cython has translated; for the compiler's part, CC="ccache gcc" does.
"""

import fcntl
import multiprocessing
import os
import zlib
from pathlib import Path

import Cython
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent
MODE = os.environ.get("PYSFU_BUILD", "release")

# Packets are read through differently typed pointers, hence no strict aliasing. No -march=native: a wheel runs on any
# machine of its architecture; faster kernels are chosen at run time.
COMMON_FLAGS = ["-fno-strict-aliasing", "-fvisibility=hidden", "-Wno-unused-function", "-Wno-sign-compare"]
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-fno-omit-frame-pointer"]
COMPILE_FLAGS = {
    "release": ["-O3", "-g0"],
    "debug": ["-Og", "-g3"],
    "asan": ["-O1", "-g", *SANITIZERS],
}
LINK_FLAGS = {"release": [], "debug": [], "asan": SANITIZERS}
if MODE not in COMPILE_FLAGS:
    raise SystemExit(f"PYSFU_BUILD={MODE!r}: choose one of {', '.join(COMPILE_FLAGS)}")

CHECKED = MODE != "release"
DIRECTIVES = {
    "language_level": 3,
    "boundscheck": CHECKED,
    "wraparound": False,
    "cdivision": True,
    "initializedcheck": False,
    "embedsignature": False,
}

# Other flags, directives or another Cython: another folder, so that everything is translated and compiled anew.
EDITION = zlib.crc32(Path(__file__).read_bytes() + Cython.__version__.encode())
TRANSLATED = f"build/cython-{MODE}-{EDITION:08x}"


def extensions() -> list[Extension]:
    found = []
    for path in sorted(ROOT.glob("sfu/**/*.pyx")):
        source = path.relative_to(ROOT)
        found.append(
            Extension(
                ".".join(source.with_suffix("").parts),
                [str(source)],
                extra_compile_args=[*COMMON_FLAGS, *COMPILE_FLAGS[MODE], "-pthread"],
                extra_link_args=[*LINK_FLAGS[MODE], "-pthread"],
            )
        )
    return found


def processes(wanted: int) -> int:
    """Cython's processes share semaphores. Where there are none, as in a chroot without /dev/shm, it works alone."""
    try:
        multiprocessing.Lock()
    except OSError:
        return 0
    return wanted


class BuildExtensions(build_ext):
    """Translates and compiles in parallel; only what is older than its .pyx, its .pxd or a .pxd it cimports."""

    def finalize_options(self) -> None:
        # Two builds of one tree take turns; the lock goes with the process.
        (ROOT / "build").mkdir(exist_ok=True)
        self.turn = (ROOT / "build" / ".lock").open("w")
        fcntl.flock(self.turn, fcntl.LOCK_EX)
        jobs = self.parallel if isinstance(self.parallel, int) else os.cpu_count() or 1
        if self.distribution.ext_modules:
            self.distribution.ext_modules = cythonize(
                self.distribution.ext_modules,
                nthreads=processes(jobs),
                build_dir=TRANSLATED,
                compiler_directives=DIRECTIVES,
                show_all_warnings=False,
                cache=os.environ.get("PYSFU_CYTHON_CACHE") or False,
            )
        super().finalize_options()
        self.parallel = jobs


setup(ext_modules=extensions(), cmdclass={"build_ext": BuildExtensions})
