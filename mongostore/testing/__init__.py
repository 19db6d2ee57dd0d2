"""Suites of tests for pytest: the contract of each framework's store, and of a service's clients.

They are for adapters of others: a fork, a wrapper, a backend on something else. A suite is a class
that pytest does not collect by itself. Derive one from it, and give it the fixtures that it names:

    class TestMyDatabase(DatabaseSuite):
        @pytest.fixture
        def db(self):
            return MyDatabase()

If your store differs on purpose, override that test with the reason. All suites need the extra `testing`, and
those of a framework also the framework; none imports an adapter of this package.
"""

import pkgutil

import pytest

# So that a failing `assert` of a suite tells what it compared.
pytest.register_assert_rewrite(*(suite.name for suite in pkgutil.iter_modules(__path__, f"{__name__}.")))
