import os
import subprocess

import pytest
from psycopg.conninfo import conninfo_to_dict

from pgha.tools.postgres import conninfo, set_password


@pytest.mark.parametrize(
    "value",
    ["plain", "", "with space", "quo'te", "back\\slash", "\\", "'", "a=b", 'dou"ble', "tab\there", "new\nline", "50%"],
)
def test_libpq_reads_every_value_as_it_was(value):
    assert conninfo_to_dict(conninfo(passfile=value, dbname="postgres")) == {"passfile": value, "dbname": "postgres"}


@pytest.mark.parametrize("secret", ["plain", "with space", r"a:b\c", "'\"$(x)%s"])
def test_psql_is_told_the_password_of_the_passfile_and_no_command_line_has_it(tmp_path, secret):
    psql = tmp_path / "psql"
    psql.write_text(f'#!/bin/sh\nprintf "%s\\n" "$*" > {tmp_path}/argv; cat > {tmp_path}/input\n')
    psql.chmod(0o755)
    passfile = tmp_path / "pgpass"
    escaped = secret.replace("\\", "\\\\").replace(":", "\\:")
    passfile.write_text(f"# host:port:database:user:password\n*:*:*:postgres:{escaped}\n*:*:*:app:other\n")
    line = set_password("postgres", str(passfile)).argv
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    subprocess.run(line, env=environment, check=True, timeout=30)
    assert (tmp_path / "input").read_text() == f"{secret}\n{secret}\n"
    assert (tmp_path / "argv").read_text() == "-Xq -d postgres -c \\password postgres\n"
    passfile.write_text("")
    assert subprocess.run(line, env=environment, check=False, timeout=30).returncode == 1
