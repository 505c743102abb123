"""Let assertions inside the abstract suites explain themselves."""

import pytest

pytest.register_assert_rewrite(
    "tests.contract.source",
    "tests.contract.bad_input",
    "tests.contract.erasure",
    "tests.contract.records",
    "tests.contract.engine",
    "tests.contract.snapshotter",
)
