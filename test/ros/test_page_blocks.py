"""The blocks of docs/ that are marked to run and take long: they start nodes, record and train."""

from __future__ import annotations

import page_commands
import pytest

SLOW = [block for block in page_commands.blocks() if block.slow]


@pytest.mark.slow
@pytest.mark.timeout(2400)
@pytest.mark.parametrize("page", sorted({block.page for block in SLOW}))
def test_slow_blocks_do(page, tmp_path):
    page_commands.run([block for block in SLOW if block.page == page], tmp_path)
