import pytest
from psycopg.conninfo import conninfo_to_dict

from pgha.tools.postgres import conninfo


@pytest.mark.parametrize(
    "value",
    ["plain", "", "with space", "quo'te", "back\\slash", "\\", "'", "a=b", 'dou"ble', "tab\there", "new\nline", "50%"],
)
def test_libpq_reads_every_value_as_it_was(value):
    assert conninfo_to_dict(conninfo(passfile=value, dbname="postgres")) == {"passfile": value, "dbname": "postgres"}
