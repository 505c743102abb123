"""Let assertions inside the abstract suites explain themselves."""

import pytest

pytest.register_assert_rewrite(
    "tests.contract.source", "tests.contract.engine", "tests.contract.snapshotter"
)
