# SPDX-License-Identifier: Apache-2.0
"""Exit code 0 if the server in this container answers. It has its settings from the environment, as this has."""

import http.client
import os
import ssl
import sys

TIMEOUT_S = 3


def main() -> int:
    port = int(os.environ.get("SFU_HTTP_PORT") or 8080)
    if os.environ.get("SFU_TLS") or os.environ.get("SFU_TLS_CERT"):
        # The certificate is for the names that clients use, which 127.0.0.1 is not.
        context = ssl._create_unverified_context()
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            "127.0.0.1", port, timeout=TIMEOUT_S, context=context
        )
    else:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/healthz")
        status = connection.getresponse().status
    except OSError as error:
        print(f"no answer at port {port}: {error}")
        return 1
    print(f"status {status}")
    return 0 if status == http.client.OK else 1


sys.exit(main())
