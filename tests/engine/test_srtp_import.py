# SPDX-License-Identifier: Apache-2.0
"""An unsuitable pylibsrtp is refused at import, by a message that names what was found and what is wanted.

The wheel itself is patched in a copy: the module is imported for real, in a process of its own.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import pylibsrtp
import pytest

from sfu.engine import srtp


def import_with(directory: Path, replacements: dict[bytes, bytes]) -> subprocess.CompletedProcess[str]:
    """Imports sfu.engine.srtp with a copy of pylibsrtp whose shared library had bytes replaced."""
    copy = directory / "pylibsrtp"
    shutil.copytree(Path(pylibsrtp.__file__).parent, copy)
    (library,) = copy.glob("_binding*.so")
    content = library.read_bytes()
    for old, new in replacements.items():
        assert old in content
        assert len(old) == len(new)
        content = content.replace(old, new)
    library.write_bytes(content)
    root = Path(srtp.__file__).parents[2]
    code = f"import sys; sys.path[:0] = [{str(directory)!r}, {str(root)!r}]; import sfu.engine.srtp"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_the_copy_is_accepted_as_it_is(tmp_path: Path) -> None:
    result = import_with(tmp_path, {})
    assert result.returncode == 0, result.stderr


def test_a_missing_function_is_named(tmp_path: Path) -> None:
    result = import_with(tmp_path, {b"\0srtp_get_version_string\0": b"\0srtp_got_version_string\0"})
    assert result.returncode != 0
    assert "ImportError" in result.stderr
    assert "srtp_get_version_string" in result.stderr
    assert "pip install" in result.stderr


class OtherVersion:
    """Answers the questions about versions as another release would."""

    def __init__(self, libsrtp: int, openssl: int) -> None:
        self.srtp_get_version_string = self._function(f"libsrtp {libsrtp:#x}".encode())
        self.OpenSSL_version = self._function(f"OpenSSL {openssl}.0.0".encode())
        self.srtp_get_version = self._function(libsrtp)
        self.OPENSSL_version_major = self._function(openssl)

    @staticmethod
    def _function(result: object) -> object:
        def answer(*_: object) -> object:
            return result

        return answer


@pytest.mark.parametrize(
    ("libsrtp", "openssl", "wanted"),
    [(0x03000000, 3, "libsrtp 2.7.x"), (0x02060000, 3, "libsrtp 2.7.x"), (0x02070000, 4, "OpenSSL 3.x")],
)
def test_other_versions_are_refused(libsrtp: int, openssl: int, wanted: str) -> None:
    with pytest.raises(ImportError, match=wanted):
        srtp.check_versions(OtherVersion(libsrtp, openssl))


def test_what_is_loaded_is_told() -> None:
    assert "2.7" in srtp.LIBSRTP_VERSION
    assert srtp.OPENSSL_VERSION.startswith("OpenSSL 3.")
