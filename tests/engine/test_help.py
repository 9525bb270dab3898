"""`provision --help` stays light."""

import subprocess
import sys

HEAVY = ("boto3", "botocore", "docker", "fabric", "paramiko", "rich", "msgspec", "yaml", "jinja2")


def test_help_imports_no_heavy_library() -> None:
    probe = (
        "import sys; from provision.cli import run; run(['--help']); "
        f"print('heavy:', [name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.rstrip().endswith("heavy: []")
