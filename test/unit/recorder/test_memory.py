"""Memory of freed images: kept for the next ones, and given back when asked to."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

CODE = """
import psutil
from vla_adapter_ros.recorder.memory import give_back_memory, share_one_heap

def megabytes():
    return psutil.Process().memory_info().rss / 1e6

assert share_one_heap()
empty = megabytes()
images = [bytearray(b"x" * 921_600) for _ in range(100)]
last = images.pop()  # keeps the heap's end in use
full = megabytes()
images.clear()
kept = megabytes()
give_back_memory()
print(full - empty, kept - empty, megabytes() - empty)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told")
def test_freed_images_stay_until_memory_is_given_back():
    ended = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    full, kept, left = map(float, ended.stdout.split())
    assert full > 85 and kept > 85 and left < 10
