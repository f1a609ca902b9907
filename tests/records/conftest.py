"""Both databases, for every test of records."""

from tests.postgres import new_url, postgres, postgres_server

__all__ = ["new_url", "postgres", "postgres_server"]
