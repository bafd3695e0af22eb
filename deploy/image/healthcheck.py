"""The image's health check: whether the stage in this container answers /health. Code 0 for yes."""

import os
import sys
import urllib.request

port = os.environ.get("HEADWATER_HEALTH_PORT", "8080")
try:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=3) as answer:
        sys.exit(answer.status != 200)
except OSError as error:
    sys.exit(f"/health on port {port}: {error}")
