"""Every builder of pgha/tools, compared as the string a shell would read."""

import importlib
import inspect
import pkgutil
import shlex
from pathlib import Path
from shlex import quote

import pytest

import pgha.tools
from pgha.model.machines import Machine
from pgha.model.merging import flatten
from pgha.model.releases import SUITES
from pgha.model.settings import read_settings
from pgha.model.topology import build_topology
from pgha.tools import (
    archives,
    beside,
    cron,
    databases,
    debian,
    disk,
    docker,
    docker_client,
    etcd,
    etcd_alone,
    ipam,
    limits,
    network,
    packages,
    parameters,
    patroni,
    patronictl,
    pg_upgrade,
    pgbackrest,
    pip,
    places,
    postgres,
    probe,
    processes,
    restarts,
    rotation,
    ssh,
    trust,
)
from pgha.tools.command import Command

TOPOLOGY = build_topology(read_settings({"data_centers": 1, "nodes": 1}))
URLS = TOPOLOGY.urls
DB_A = Machine("db-a", "ssh://root@db-a:2222", "10.0.1.9")
FOLDER = Path("images/patroni")
DATA = "/pgdata/17"
ETCD3 = "etcdctl --endpoints=https://etcd3:2379"
ETCD = "etcdctl --endpoints=https://etcd1:2379,https://etcd2:2379,https://etcd3:2379"
RIGHTS = "--cap-add SYS_ADMIN --cap-add SYS_PTRACE --security-opt seccomp=unconfined --security-opt apparmor=unconfined"

ASIDE = pg_upgrade.Aside("p-upgrade", "u:1", ("l=1",), "256m")

CASES = [
    # Patroni
    (patroni.ctl("list", "-f", "json"), "patronictl -c /pgha/config/patroni.conf list -f json"),
    (patroni.show_config(), "patronictl -c /pgha/config/patroni.conf show-config pgha_cluster"),
    (
        patroni.patch_config(
            {"ttl": 30, "synchronous_mode": True, "postgresql": {"parameters": {"a": "x %p", "b": 1}}}
        ),
        "patronictl -c /pgha/config/patroni.conf edit-config --quiet --force --set=ttl=30 --set=synchronous_mode=true"
        """ '--set=postgresql.parameters.a="x %p"' --set=postgresql.parameters.b=1 pgha_cluster""",
    ),
    (
        patroni.switchover("pg1-node1", "pg2-node1"),
        "patronictl -c /pgha/config/patroni.conf switchover pgha_cluster --leader pg1-node1 --candidate pg2-node1"
        " --force",
    ),
    (
        patroni.switchover("pg1-node1", None),
        "patronictl -c /pgha/config/patroni.conf switchover pgha_cluster --leader pg1-node1 --force",
    ),
    (
        patroni.failover("pg2-node1"),
        "patronictl -c /pgha/config/patroni.conf failover pgha_cluster --candidate pg2-node1 --force",
    ),
    (patronictl.pause(), "patronictl -c /pgha/config/patroni.conf pause pgha_cluster"),
    (patronictl.resume(), "patronictl -c /pgha/config/patroni.conf resume pgha_cluster"),
    (
        patronictl.reinit("pg1-node2"),
        "patronictl -c /pgha/config/patroni.conf reinit pgha_cluster pg1-node2 --force",
    ),
    (
        patronictl.reinit("pg1-node2", from_leader=True),
        "patronictl -c /pgha/config/patroni.conf reinit pgha_cluster pg1-node2 --force --from-leader",
    ),
    (patronictl.taken_config(DATA), "cat /pgdata/17/patroni.dynamic.json"),
    (patroni.get(URLS, "cluster"), "curl -sS -m 3 https://localhost:8008/cluster"),
    (patroni.get(URLS, "patroni", host="pg1-node1", timeout=1.5), "curl -sS -m 1.5 https://pg1-node1:8008/patroni"),
    (
        patroni.hold("not now", seconds=30),
        """sh -c 'echo "$0" > "$1" && s6-svc -wd -T "$2" -d "$3"' 'not now' /pgdata/hold 30000 /service/patroni""",
    ),
    (patroni.release(), """sh -c 'rm -f "$0" && s6-svc -u "$1"' /pgdata/hold /service/patroni"""),
    # pgBackRest
    (pgbackrest.stanza_create(), "pgbackrest --stanza=pg_ha_db stanza-create"),
    (pgbackrest.stanza_upgrade(), "pgbackrest --stanza=pg_ha_db stanza-upgrade"),
    (pgbackrest.check(), "pgbackrest --stanza=pg_ha_db --archive-timeout=60 check"),
    (
        pgbackrest.unreached({"pg1-node1": 8432, "pg2-node1": 8442}),
        f"sh -c {quote(pgbackrest.UNREACHED)} unreached pg1-node1:8432 pg2-node1:8442",
    ),
    (pgbackrest.archive_histories(DATA), f"sh -c {quote(pgbackrest.HISTORIES)} histories {DATA} pg_ha_db"),
    (
        pgbackrest.backup("incr", leader_only=True),
        "pgbackrest --stanza=pg_ha_db --type=incr --backup-standby=n backup",
    ),
    (pgbackrest.backup("diff"), "pgbackrest --stanza=pg_ha_db --type=diff backup"),
    (pgbackrest.backup("diff", repo=2), "pgbackrest --stanza=pg_ha_db --repo=2 --type=diff backup"),
    (pgbackrest.info(), "pgbackrest --stanza=pg_ha_db --output=json info"),
    (pgbackrest.info(2), "pgbackrest --stanza=pg_ha_db --repo=2 --output=json info"),
    (pgbackrest.info_text(), "pgbackrest --stanza=pg_ha_db info"),
    (
        pgbackrest.restore(DATA, "20261123-053604F", "--type=time", "--target=2026-11-23 08:30:00+00"),
        "restore-here /pgdata/17 20261123-053604F --type=time '--target=2026-11-23 08:30:00+00'",
    ),
    (pgbackrest.verify_repository(), "verify-repository"),
    (pgbackrest.verify_repository("20261123-053604F"), "verify-repository 20261123-053604F"),
    (pgbackrest.verify_repository("a", repo=2), "env PGBACKREST_REPO=2 verify-repository a"),
    (pgbackrest.verify_backup(), "verify-backup"),
    (pgbackrest.verify_backup("20261123-053604F"), "verify-backup 20261123-053604F"),
    (pgbackrest.verify_backup("20261123-053604F", "citus"), "verify-backup --preload=citus 20261123-053604F"),
    (pgbackrest.verify_backup_if_chosen(), "verify-backup --if-chosen"),
    (pgbackrest.verify_backup_if_chosen("citus"), "verify-backup --if-chosen --preload=citus"),
    (pgbackrest.archive_list("17-1"), "pgbackrest repo-ls --recurse --output=json archive/pg_ha_db/17-1"),
    (
        pgbackrest.read_archived("17-1", ["00000002.history", "00000003.history"]),
        """sh -c 'for name; do echo "== $name" && pgbackrest repo-get "$0/$name" && echo || exit 1; done'"""
        " archive/pg_ha_db/17-1 00000002.history 00000003.history",
    ),
    (
        pgbackrest.find_wal("name", "before it", "17-1", ["0/B-ff.zst", "0/A-ee.zst"]),
        "find-wal name 'before it' archive/pg_ha_db/17-1/0/B-ff.zst archive/pg_ha_db/17-1/0/A-ee.zst",
    ),
    (
        pgbackrest.find_wal("last", "", "17-1", ["0/B-ff.zst"]),
        "find-wal last - archive/pg_ha_db/17-1/0/B-ff.zst",
    ),
    (pgbackrest.archive_list("18-1", 2), "pgbackrest --repo=2 repo-ls --recurse --output=json archive/pg_ha_db/18-1"),
    (
        pgbackrest.find_wal("last", "", "17-1", ["a"], 1),
        "env PGBACKREST_REPO=1 find-wal last - archive/pg_ha_db/17-1/a",
    ),
    (
        places.holds_repository("/pgha/pgbackrest/2"),
        """sh -c 'for file in "$1"/archive/*/archive.info* "$1"/backup/*/backup.info*; do [ ! -e "$file" ] || """
        "echo yes; done' holds /pgha/pgbackrest/2",
    ),
    (places.clear("/pgha/pgbackrest"), "rm -rf /pgha/pgbackrest/archive /pgha/pgbackrest/backup"),
    (
        pgbackrest.archive_push("/pgdata/17/pg_wal/00000002.history"),
        "pgbackrest --stanza=pg_ha_db --no-archive-async archive-push /pgdata/17/pg_wal/00000002.history",
    ),
    # Parameters
    (parameters.checked(DATA, "work_mem", "8 MB"), "postgres -D /pgdata/17 -C work_mem -c 'work_mem=8 MB'"),
    (
        parameters.in_force(["work_mem", "DateStyle"]),
        str(
            postgres.query(
                "select coalesce(json_object_agg(lower(name), json_build_array(setting, current_setting(name), context,"
                " source)), '{}') from pg_settings where lower(name) in ('work_mem', 'datestyle')"
            )
        ),
    ),
    (
        parameters.missing_libraries(["auto_explain", '"it\'s"']),
        str(
            postgres.query(
                "select name from unnest(array['auto_explain', 'it''s']) name where (pg_stat_file(regexp_replace("
                "replace(case when name ~ '/' then name else (select setting from pg_config where name = 'PKGLIBDIR')"
                " || '/' || name end, '$libdir', (select setting from pg_config where name = 'PKGLIBDIR')),"
                " '([.]so)?$', '.so'), true)).size is null"
            )
        ),
    ),
    # Databases
    (databases.script("app"), f"env '{postgres.FREE} {databases.UNLOGGED}' psql -XAtq -v ON_ERROR_STOP=1 -d app -f -"),
    (
        databases.log_in("host=a user=app"),
        f"sh -c {quote(databases.log_in('').argv[2])} 'host=a user=app'",
    ),
    # etcd
    (etcd.health(TOPOLOGY, 2), f"{ETCD} --command-timeout=2s --dial-timeout=1s --write-out=json endpoint health"),
    (etcd.leader_key(TOPOLOGY), f"{ETCD} --command-timeout=2s --write-out=json get /service/pgha_cluster/leader"),
    (etcd.time_to_live(TOPOLOGY, 31), f"{ETCD} --command-timeout=2s --write-out=json lease timetolive 1f"),
    (etcd.member_keys(TOPOLOGY), f"{ETCD} --command-timeout=5s get --prefix /service/pgha_cluster/members/"),
    (
        etcd.put_config(TOPOLOGY, {"ttl": 20, "postgresql": {"use_slots": True}}),
        f"""{ETCD} --command-timeout=10s put /service/pgha_cluster/config"""
        """ '{"postgresql": {"use_slots": true}, "ttl": 20}'""",
    ),
    (
        etcd.forget_cluster(TOPOLOGY),
        f"{ETCD} --command-timeout=10s del /service/pgha_cluster/config0 /service/pgha_cluster0",
    ),
    (
        etcd.status(TOPOLOGY),
        "etcdctl --endpoints=https://etcd1:2379,https://etcd2:2379,https://etcd3:2379 --command-timeout=2s"
        " --dial-timeout=1s --write-out=json endpoint status",
    ),
    (etcd.version(), "etcdctl version"),
    (
        etcd_alone.status(URLS, "etcd3"),
        f"{ETCD3} --command-timeout=2s --dial-timeout=1s --write-out=json endpoint status",
    ),
    (etcd.hashes(TOPOLOGY, 28), f"{ETCD} --command-timeout=5s --write-out=json endpoint hashkv --rev=28"),
    (
        etcd_alone.mark(TOPOLOGY.urls, "etcd3", "1795720000.5"),
        f"{ETCD3} --command-timeout=1.5s --dial-timeout=1s put /pgha/recovered 1795720000.5",
    ),
    (
        etcd_alone.read_mark(TOPOLOGY.urls, "etcd3"),
        f"{ETCD3} --command-timeout=2s --dial-timeout=1s get --print-value-only /pgha/recovered",
    ),
    (etcd_alone.health(URLS, "etcd3"), f"{ETCD3} --command-timeout=2s --dial-timeout=1s endpoint health"),
    (
        etcd_alone.list_members(URLS, "etcd3"),
        f"{ETCD3} --command-timeout=5s --dial-timeout=1s --write-out=json member list",
    ),
    (
        etcd_alone.local_keys(URLS, "etcd3"),
        f"{ETCD3} --command-timeout=5s --dial-timeout=1s --write-out=json get --prefix --consistency=s"
        " /service/pgha_cluster/",
    ),
    (
        etcd_alone.put(URLS, "etcd3", "failover", etcd_alone.failover_request("pg3-node1")),
        f"{ETCD3} --command-timeout=5s --dial-timeout=1s put /service/pgha_cluster/failover"
        """ '{"member":"pg3-node1"}'""",
    ),
    (
        etcd_alone.delete(URLS, "etcd3", "members/pg1-node1"),
        f"{ETCD3} --command-timeout=5s --dial-timeout=1s del /service/pgha_cluster/members/pg1-node1",
    ),
    # Postgres
    (
        postgres.query("select 'a b'"),
        f"env '{postgres.FREE}' psql -XAtq -v ON_ERROR_STOP=1 -d postgres -c 'select '\"'\"'a b'\"'\"''",
    ),
    (postgres.start_aside(DATA, ""), "start-aside /pgdata/17 /pgdata/17.log shared_preload_libraries="),
    (
        postgres.start_aside(DATA, "a,b", "listen_addresses=*"),
        "start-aside /pgdata/17 /pgdata/17.log shared_preload_libraries=a,b 'listen_addresses=*'",
    ),
    (
        postgres.stop(DATA),
        """sh -c 'pg_ctl status -D "$0" > /dev/null || exit 0; pg_ctl stop -s -D "$0" -m fast -t 60 ||"""
        """ pg_ctl stop -s -D "$0" -m immediate -t 30' /pgdata/17""",
    ),
    (
        postgres.clear_way(DATA),
        """sh -c 'pkill -f "pgbackrest .* restor[e]" && sleep 1; pg_ctl status -D "$0" > /dev/null &&"""
        """ pg_ctl stop -s -D "$0" -m immediate -t 60; mkdir -p -m 0700 "$0" && rm -f "$0/postmaster.pid"'"""
        """ /pgdata/17""",
    ),
    (
        postgres.set_aside(DATA),
        """sh -c '[ -e "$0.kept" ] || [ ! -e "$0" ] || mv "$0" "$0.kept" || exit 1;"""
        """ for files in "$0.kept"/pg_tblspc/*/PG_"${0##*/}"_*[0-9];"""
        """ do [ ! -e "$files" ] || [ -e "$files.kept" ] || mv "$files" "$files.kept" || exit 1; done' /pgdata/17""",
    ),
    (
        postgres.take_back(DATA),
        """sh -c '[ ! -e "$0.kept" ] || { rm -rf "$0"/pg_tblspc/*/PG_"${0##*/}"_*[0-9] "$0" &&"""
        """ mv "$0.kept" "$0"; } || exit 1;"""
        """ for kept in "$0"/pg_tblspc/*/PG_"${0##*/}"_*[0-9].kept;"""
        """ do [ ! -e "$kept" ] || { rm -rf "${kept%.kept}" && mv "$kept" "${kept%.kept}"; } || exit 1; done'"""
        """ /pgdata/17""",
    ),
    (
        postgres.remove_kept(DATA),
        """sh -c 'rm -rf "$0.kept"/pg_tblspc/*/PG_"${0##*/}"_*[0-9].kept "$0.kept"' /pgdata/17""",
    ),
    (
        postgres.remove_data(DATA),
        """sh -c 'rm -rf "$0"/pg_tblspc/*/PG_"${0##*/}"_*[0-9] "$0.tablespaces"/*/PG_"${0##*/}"_*[0-9]"""
        """ "$0.tablespaces" "$0"' /pgdata/17""",
    ),
    (
        postgres.recovery_state(DATA),
        f"env '{postgres.FREE}' "
        """sh -c 'pg_ctl status -D "$0" > /dev/null || { tail -n 15 "$1" >&2; exit 3; };"""
        """ exec psql -XAtq -h "$2" -d postgres -v ON_ERROR_STOP=1 -c "$3"' /pgdata/17 /pgdata/17.log /tmp/aside """
        + shlex.quote(postgres.RECOVERY),
    ),
    (
        postgres.end_recovery(),
        f"env '{postgres.FREE}' psql -XAtq -h /tmp/aside -d postgres -c 'select pg_wal_replay_resume()'",
    ),
    (
        rotation.place("/f"),
        """sh -c 'umask 077; cat > "$0.part" && mv -f "$0.part" "$0"' /f""",
    ),
    (
        rotation.adopt_passfile(),
        """sh -c 'if [ -e "$0" ]; then mv -f "$0" "$1"; fi' /pgha/config/pgpass.next /pgha/config/pgpass""",
    ),
    (rotation.reload(), "s6-svc -h /service/patroni"),
    (
        rotation.ask_restapi(URLS),
        "curl -sS -m 5 -o /dev/null -w '%{http_code}' -X POST -K - https://localhost:8008/reload",
    ),
    (
        rotation.run_script(),
        f"env '{postgres.FREE} {databases.UNLOGGED}' psql -XAtq -v ON_ERROR_STOP=1 -d postgres"
        " -f /pgha/config/rotate.sql",
    ),
    (rotation.remove_script(), "rm -f /pgha/config/rotate.sql /pgha/config/pgpass.next"),
    (
        postgres.set_password("app", "/a/pgpass"),
        f"env '{postgres.FREE}' sh -c "
        + shlex.quote(
            r"""secret=$(sed -n "s/^[*]:[*]:[*]:$0://p" "$1" | sed 's/\\\(.\)/\1/g'); [ -n "$secret" ] || exit 1; """
            r"""printf '%s\n%s\n' "$secret" "$secret" | psql -Xq -d postgres -c '\password '"$0" """
        )
        + " app /a/pgpass",
    ),
    (postgres.control_data(DATA), "env LC_ALL=C pg_controldata /pgdata/17"),
    (
        postgres.room(DATA),
        """sh -c 'df -PB1 "$(dirname "$0")" | tail -n 1 | awk '"'"'{print $4}'"'"';"""
        """ used=$(du -scB1 "$0" "$0"/pg_tblspc/*/ 2> /dev/null | tail -n 1 | cut -f 1);"""
        """ echo "${used:-0}"' /pgdata/17""",
    ),
    (
        restarts.restart("pg1-node1", 180),
        "patronictl -c /pgha/config/patroni.conf restart pgha_cluster pg1-node1 --force --timeout 180",
    ),
    (trust.show_authority(), "cat /pgha/tls/ca.crt"),
    (
        trust.ask_postgres(),
        "timeout 5 sh -c 'openssl s_client -starttls postgres -connect localhost:5432 < /dev/null 2>&1'",
    ),
    (
        trust.log_in_as_member("pg1-node2"),
        "psql 'host=pg1-node2 port=5432 user=replicator dbname=postgres sslmode=verify-full"
        " sslrootcert=/pgha/tls/ca.crt sslcert=/pgha/tls/host.crt sslkey=/pgha/tls/host.key connect_timeout=5'"
        " -XAtqwc 'select 1'",
    ),
    (
        postgres.write_lines("/f", ["local all postgres peer", "host all all all scram-sha-256"]),
        """sh -c 'umask 077; printf '"'"'%s\\n'"'"' "$@" > "$0"' /f 'local all postgres peer'"""
        " 'host all all all scram-sha-256'",
    ),
    (trust.show_known_hosts(), "cat /etc/ssh/ssh_known_hosts"),
    (pgbackrest.ping(), "pgbackrest --log-level-console=warn server-ping localhost"),
    # cron
    (
        cron.recorded("/pgdata/scheduled", "full", pgbackrest.backup("full")),
        "scheduled /pgdata/scheduled full pgbackrest --stanza=pg_ha_db --type=full backup",
    ),
    (cron.install("0 1 * * 0 true\n"), """sh -c 'printf %s "$1" | crontab -' crontab '0 1 * * 0 true\n'"""),
    (
        cron.results("/pgdata/scheduled", "/pgdata"),
        "sh -c "
        + quote(
            "cat /pgdata/scheduled/*.json /pgdata/verified.json 2>/dev/null; "
            "df -B1 --output=used,avail,target /pgdata 2>/dev/null | "
            r"""sed -nE '2,$s|^ *([0-9]+) +([0-9]+) +(/.*)$|{"place": "\3", "used": \1, "free": \2}|p'"""
        ),
    ),
    # The engine
    (docker.docker("version"), "docker version"),
    (docker.image_exists("debian:trixie-slim"), "docker image inspect --format '{{.Id}}' debian:trixie-slim"),
    (
        docker.image_label("etcd:1", "pgha.tls"),
        "docker image inspect --format '{{index .Config.Labels \"pgha.tls\"}}' etcd:1",
    ),
    (docker.pull("debian:trixie-slim"), "docker pull debian:trixie-slim"),
    (archives.save(["a:1", "b:1"]), "docker save a:1 b:1"),
    (archives.load(), "docker load --quiet"),
    (archives.unpack_into("p-etcd1"), "docker cp - p-etcd1:/"),
    (
        ssh.open_master(DB_A, "/d/a.ctl", "/d/a.sock"),
        "ssh -fNM -S /d/a.ctl -o ControlPersist=10m -o BatchMode=yes -o StrictHostKeyChecking=yes"
        " -o ExitOnForwardFailure=yes -o StreamLocalBindUnlink=yes -o ConnectTimeout=2 -o ServerAliveInterval=2"
        " -o ServerAliveCountMax=3 -L /d/a.sock:/var/run/docker.sock -p 2222 root@db-a",
    ),
    (ssh.close_master(DB_A, "/d/a.ctl"), "ssh -S /d/a.ctl -O exit -p 2222 root@db-a"),
    (docker.remove_images(["a:drill", "b:drill"]), "docker image rm a:drill b:drill"),
    (
        docker.build(FOLDER, ["a:1", "a"], {"POSTGRES": "17", "BASE": "x"}),
        "docker build --force-rm --tag a:1 --tag a --build-arg POSTGRES=17 --build-arg BASE=x images/patroni",
    ),
    (
        docker.build(FOLDER, [], {}, target="packages", no_cache=True),
        "docker build --force-rm --target packages --no-cache images/patroni",
    ),
    (
        docker.mirror_probe("debian:trixie-slim"),
        "docker run --rm debian:trixie-slim apt-get update -qq -o APT::Update::Error-Mode=any",
    ),
    (docker.containers("p"), "docker ps --all --filter label=com.docker.compose.project=p --format '{{.ID}}'"),
    (docker.volumes("p"), "docker volume ls --filter label=com.docker.compose.project=p --format '{{.Name}}'"),
    (
        docker.owners_of_containers("p"),
        "docker ps --all --filter label=com.docker.compose.project=p --format "
        '\'{{.Label "pgha.checkout"}} {{.Label "com.docker.compose.project.working_dir"}}\'',
    ),
    (
        docker.owners_of_volumes("p"),
        "docker volume ls --filter label=com.docker.compose.project=p --format '{{.Label \"pgha.checkout\"}}'",
    ),
    (docker.inspect("volume", ["a", "b"]), "docker volume inspect a b"),
    (docker.remove_volumes(["a", "b"]), "docker volume rm a b"),
    (docker.signal("stop", ["p-etcd1", "p-pg1-node1"]), "docker stop -t 120 p-etcd1 p-pg1-node1"),
    (docker.signal("kill", ["p-etcd1", "p-pg1-node1"]), "docker kill p-etcd1 p-pg1-node1"),
    (docker.logs("p-pg1-node1", follow=True, tail=5), "docker logs --tail 5 --follow p-pg1-node1"),
    (docker.logs("p-pg1-node1", follow=False, tail=100), "docker logs --tail 100 p-pg1-node1"),
    (docker.logs_since("p-etcd1", 1700000000), "docker logs --timestamps --since 1700000000 p-etcd1"),
    (
        beside.run(
            "p-clone",
            "image:1",
            ["/entrypoint.sh", "sleep", "infinity"],
            labels=["pgha.clone=p", "pgha.checkout=ab12"],
            network="p_wan",
            port="127.0.0.1:50660:5432",
            shm_size="256m",
            files={"pgbackrest.conf": "/p/pgbackrest.conf", "host.key": "/tls/p/host.key"},
            environment={"STANZA_NAME": "pg_ha_db"},
        ),
        "docker run --detach --init --name p-clone --hostname clone --cap-drop ALL --cap-add CHOWN"
        " --cap-add DAC_OVERRIDE --cap-add FOWNER --security-opt no-new-privileges:true"
        " --label pgha.clone=p --label pgha.checkout=ab12"
        " --network p_wan --publish 127.0.0.1:50660:5432 --shm-size 256m --env STANZA_NAME=pg_ha_db"
        " --volume /p/pgbackrest.conf:/run/secrets/pgbackrest.conf:ro"
        " --volume /tls/p/host.key:/run/secrets/host.key:ro image:1 /entrypoint.sh sleep infinity",
    ),
    (
        beside.run(
            "p-clone",
            "image:1",
            [],
            labels=[],
            network="p_wan",
            port="10.0.1.9:50660:5432",
            shm_size="256m",
            files={},
            environment={},
            started=False,
        ),
        "docker create --init --name p-clone --hostname clone --cap-drop ALL --cap-add CHOWN --cap-add DAC_OVERRIDE "
        "--cap-add FOWNER --security-opt no-new-privileges:true --network p_wan --publish 10.0.1.9:50660:5432"
        " --shm-size 256m image:1",
    ),
    (
        probe.listen("p-probe", "image:1", "pgha.clone=p", "10.0.1.9", [22, 2379]),
        "docker run --detach --rm --init --name p-probe --label pgha.clone=p --publish 10.0.1.9:22:22"
        f" --publish 10.0.1.9:2379:2379 image:1 python3 -c {quote(probe.LISTEN)} 22 2379",
    ),
    (
        probe.ask("image:1", "pgha.clone=p", ["10.0.1.9:2379"]),
        f"docker run --rm --init --label pgha.clone=p image:1 python3 -c {quote(probe.ASK)} 10.0.1.9:2379",
    ),
    (
        docker.execute("p-clone", postgres.query("select 'a b'")),
        f"docker exec --user postgres p-clone env '{postgres.FREE}' psql -XAtq -v ON_ERROR_STOP=1 -d postgres -c"
        " 'select '\"'\"'a b'\"'\"''",
    ),
    (
        docker.make_folders("p-clone", ["/srv/ts"]),
        "docker exec --user root p-clone install -d -o postgres -g postgres -m 0700 /srv/ts",
    ),
    (docker.remove("p-clone"), "docker rm --force --volumes p-clone"),
    (cron.log("/folder", "incr"), "cat /folder/incr.log"),
    (docker.last_logs("p-etcd1", 20), "docker logs --tail 20 p-etcd1"),
    (docker.restart("p-etcd1"), "docker restart -t 10 p-etcd1"),
    (etcd.member_list(TOPOLOGY), f"{ETCD} --command-timeout=5s --write-out=json member list"),
    (etcd.member_remove(TOPOLOGY, "a1"), f"{ETCD} --command-timeout=10s member remove a1"),
    (
        etcd.member_add(TOPOLOGY, "etcd3"),
        f"{ETCD} --command-timeout=10s member add etcd3 --peer-urls=https://etcd3:2380",
    ),
    (cron.table(), "sh -c 'crontab -l 2>/dev/null || true'"),
    (
        etcd.member_add(TOPOLOGY, "etcd4", learner=True),
        f"{ETCD} --command-timeout=10s member add etcd4 --peer-urls=https://etcd4:2380 --learner",
    ),
    (etcd.member_promote(TOPOLOGY, "a1"), f"{ETCD} --command-timeout=10s member promote a1"),
    (
        etcd.forget_member(TOPOLOGY, "pg1-node3"),
        f"{ETCD} --command-timeout=10s del /service/pgha_cluster/members/pg1-node3",
    ),
    (
        docker.copy_into("p-pg1-node1", FOLDER, "/etc/ssh/ssh_known_hosts.new"),
        f"docker cp {FOLDER} p-pg1-node1:/etc/ssh/ssh_known_hosts.new",
    ),
    (
        trust.ask_server(2379, "etcd1"),
        "timeout 5 sh -c 'openssl s_client -connect etcd1:2379 < /dev/null 2>&1'",
    ),
    (rotation.ask_listener(), "ss -ltneH 'sport = :8008'"),
    (
        rotation.renew_restapi(),
        "sh -c '\numask 077\nsed '\"'\"'s#^  cafile: /pgha/tls/ca.crt$#  cafile: /pgha/tls/./ca.crt#; t\n"
        '     s#^  cafile: /pgha/tls/./ca.crt$#  cafile: /pgha/tls/ca.crt#\'"\'"\' "$0" > "$0.part"'
        ' && mv -f "$0.part" "$0" &&\ns6-svc -h "$1"\n\' /pgha/config/patroni.conf /service/patroni',
    ),
    (
        etcd.member_update(TOPOLOGY, "a1b2", "http://etcd2:2380"),
        f"{ETCD} --command-timeout=10s member update a1b2 --peer-urls=http://etcd2:2380",
    ),
    (trust.ask_server(), "timeout 5 sh -c 'openssl s_client -connect localhost:8432 < /dev/null 2>&1'"),
    (trust.ask_host_key(), "ssh-keyscan -T 3 -t ed25519 localhost"),
    (trust.nothing(), "true"),
    (trust.reach("pg1-node2"), "ssh -o BatchMode=yes pg1-node2 true"),
    (
        trust.list_archive(),
        "pgbackrest --stanza=pg_ha_db --log-level-console=warn repo-ls archive/pg_ha_db",
    ),
    (docker.remove_networks(["p_dc2", "p_dc3"]), "docker network rm p_dc2 p_dc3"),
    (
        processes.reload_service("p-pgbackrest", "pgbackrest"),
        "docker exec --user root p-pgbackrest s6-svc -h /service/pgbackrest",
    ),
    (
        processes.put_in_place("p-pg1-node1", ("postgres", "0600", "/a/b.conf"), ("root", "0644", "/a/known")),
        f"docker exec --user root p-pg1-node1 sh -c {quote(processes.PUT)} "
        "put postgres 0600 /a/b.conf root 0644 /a/known",
    ),
    (beside.listed("p"), "docker ps --all --filter label=pgha.clone=p --format '{{.ID}}'"),
    (
        beside.look("p-clone"),
        "docker ps --all --filter 'name=^p-clone$' --format '{{.Names}} {{.State}} {{.Ports}}'",
    ),
    (ipam.listed(), "docker network ls --quiet --no-trunc"),
    (ipam.inspected(["a1", "b2"]), "docker network inspect a1 b2"),
    (ipam.disconnect("p_wan", "p-pg1-node1"), "docker network disconnect p_wan p-pg1-node1"),
    (
        ipam.connect("p_wan", "p-pg1-node1", "pg1-node1", "172.30.240.111"),
        "docker network connect --ip 172.30.240.111 --alias pg1-node1 p_wan p-pg1-node1",
    ),
    (ipam.connect("p_wan", "p-etcd1", "etcd1"), "docker network connect --alias etcd1 p_wan p-etcd1"),
    (
        packages.installed("a:1"),
        f"docker run --rm --user root --network none a:1 sh -c {quote(packages.INSTALLED)}",
    ),
    (packages.newer("a:1"), f"docker run --rm --user root a:1 sh -c {quote(packages.NEWER)}"),
    (docker.image_ids(["a:1", "b:1"]), "docker image inspect --format '{{.Id}}' a:1 b:1"),
    (docker.networks("p"), "docker network ls --filter label=com.docker.compose.project=p --format '{{.ID}}'"),
    (
        docker.PLUGIN.command(Path("build/p/compose.yaml"), "p", "up", "--detach"),
        "docker compose --project-name p --file build/p/compose.yaml up --detach",
    ),
    (
        docker.PROGRAM.command(Path("build/p/compose.yaml"), "p", "stop"),
        "docker-compose --project-name p --file build/p/compose.yaml stop",
    ),
    # Chaos: the network
    (
        network.cut("p-pg1-node1", "image:1", ["10.0.0.9", "10.0.0.10"]),
        "docker run --rm --network container:p-pg1-node1 --cap-add NET_ADMIN --user root image:1 nft "
        "'add table inet pgha_chaos; delete table inet pgha_chaos; add table inet pgha_chaos; "
        "add chain inet pgha_chaos incoming { type filter hook input priority -10; }; "
        "add chain inet pgha_chaos outgoing { type filter hook output priority -10; }; "
        "add rule inet pgha_chaos incoming ip saddr { 10.0.0.10, 10.0.0.9 } drop; "
        "add rule inet pgha_chaos outgoing ip daddr { 10.0.0.10, 10.0.0.9 } drop'",
    ),
    (
        network.mend("p-etcd1", "image:1"),
        "docker run --rm --network container:p-etcd1 --cap-add NET_ADMIN --user root image:1 nft "
        "'add table inet pgha_chaos; delete table inet pgha_chaos'",
    ),
    (
        network.can_delay("image:1"),
        "docker run --rm --network none --cap-add NET_ADMIN --user root image:1 "
        "tc qdisc add dev lo root netem delay 1ms",
    ),
    (
        network.delay("p-etcd1", "image:1", "10.0.0.9", 40),
        "docker run --rm --network container:p-etcd1 --cap-add NET_ADMIN --user root image:1 "
        f"sh -c {quote(network.DELAY)} delay 10.0.0.9 40ms",
    ),
    (
        network.no_delay("p-etcd1", "image:1", "10.0.0.9"),
        "docker run --rm --network container:p-etcd1 --cap-add NET_ADMIN --user root image:1 "
        f"sh -c {quote(network.NO_DELAY)} no-delay 10.0.0.9",
    ),
    # Chaos: disks
    (
        disk.shrink("p-pg1-node1", "image:1", 96),
        f"docker run --rm --pid container:p-pg1-node1 {RIGHTS} --user root image:1 "
        f"nsenter --target 1 --mount -- sh -c {quote(disk.SHRINK)} disk 96",
    ),
    (
        disk.grow("p-pg1-node1", "image:1"),
        f"docker run --rm --pid container:p-pg1-node1 {RIGHTS} --user root image:1 "
        f"nsenter --target 1 --mount -- sh -c {quote(disk.GROW)} disk",
    ),
    (
        disk.fill("p-pg1-node1"),
        "docker exec --user root p-pg1-node1 sh -c "
        "'[ $(stat -f -c %T /pgdata) = tmpfs ] || exit 1\n"
        "dd if=/dev/zero of=/pgdata/ballast bs=64k 2>/dev/null; df --output=avail /pgdata | tail -n 1'",
    ),
    (
        disk.fits("p-pg1-node1", 96),
        f"docker exec --user root p-pg1-node1 sh -c {quote(disk.FITS)} disk 96",
    ),
    (disk.accept("p-pg1-node1"), "docker exec --user root p-pg1-node1 rm -f /pgdata/moved"),
    (disk.empty("p-pg1-node1"), "docker exec --user root p-pg1-node1 rm -f /pgdata/ballast"),
    (
        disk.wipe("p-pg1-node1", "/pgdata/17"),
        "docker exec --user root p-pg1-node1 sh -c "
        "'lost=$(mktemp -d /pgdata/lost.XXXXXX) || exit 1\n"
        "pid=$(head -n 1 /pgdata/17/postmaster.pid 2>/dev/null)\n"
        """[ "$(cat /proc/$pid/comm 2>/dev/null)" = postgres ] || pid=\n"""
        """mv /pgdata/17 "$lost/" && { [ -z "$pid" ] || kill -s KILL "$pid"; }\n"""
        "rm -rf /pgdata/lost.*/17/pg_tblspc/*/PG_17_*[0-9] && rm -rf /pgdata/lost.*\n"
        """test ! -e "$lost"'""",
    ),
    # Chaos: processes
    (processes.inside("p-etcd1", "date"), "docker exec --user root p-etcd1 date"),
    (processes.signal_service("p-n", "sshd", "stop"), "docker exec --user root p-n s6-svc -d /service/sshd"),
    (processes.signal_service("p-n", "patroni", "kill"), "docker exec --user root p-n s6-svc -k /service/patroni"),
    (processes.signal_service("p-n", "patroni", "pause"), "docker exec --user root p-n s6-svc -p /service/patroni"),
    (
        processes.take_down("p-n", "patroni"),
        "docker exec --user root p-n s6-svc -wD -T 100000 -d /service/patroni",
    ),
    (processes.resume_service("p-n", "sshd"), "docker exec --user root p-n s6-svc -uc /service/sshd"),
    (
        processes.signal_postgres("p-n", "/pgdata/17", "pause"),
        f"docker exec --user root p-n sh -c {quote(processes.POSTGRES)} signal /pgdata/17 STOP",
    ),
    (
        processes.signal_postgres("p-n", "/pgdata/17", "reload"),
        f"docker exec --user root p-n sh -c {quote(processes.POSTGRES)} signal /pgdata/17 HUP",
    ),
    (
        processes.resume_postgres("p-n", "/pgdata/17"),
        f"docker exec --user root p-n sh -c {quote(processes.POSTGRES)} signal /pgdata/17 CONT",
    ),
    # Limits
    (
        limits.in_use(),
        f"env '{postgres.FREE}' psql -XAtq -v ON_ERROR_STOP=1 -d postgres -c {quote(' '.join(limits.IN_USE.split()))}",
    ),
    # Debian
    (debian.apt_update(), "apt-get update -qq"),
    (
        debian.apt_install(["docker.io", "mmdebstrap"]),
        "env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends docker.io mmdebstrap",
    ),
    (debian.apt_policy(["docker-compose"]), "env LC_ALL=C apt-cache policy docker-compose"),
    (
        pip.download("/venv/bin/python", FOLDER / "requirements.txt", FOLDER / "wheels.new"),
        "/venv/bin/python -m pip download --quiet --no-deps --only-binary=:all: --require-hashes --requirement "
        "images/patroni/requirements.txt --dest images/patroni/wheels.new",
    ),
    # pg_upgrade
    (pg_upgrade.extensions(), f"env {quote(postgres.FREE)} sh -c {quote(pg_upgrade.EXTENSIONS)}"),
    (pg_upgrade.offered("a:1", 18), "docker run --rm --network none a:1 ls /usr/share/postgresql/18/extension"),
    (
        ASIDE.rehearse(
            17, 18, "a,b", network="p_wan", host="pg1-node1", files={"pgpass": "/b/pgpass", "ca.crt": "/t/ca.crt"}
        ),
        "docker run --rm --init --name p-upgrade --label l=1 --shm-size 256m --network p_wan"
        " --volume /b/pgpass:/run/secrets/pgpass:ro --volume /t/ca.crt:/run/secrets/ca.crt:ro u:1"
        " /entrypoint.sh s6-setuidgid postgres"
        " rehearse-upgrade 17 18 a,b pg1-node1",
    ),
    (
        ASIDE.upgrade("p_pg1-node1", 17, 18, ""),
        "docker run --rm --init --name p-upgrade --label l=1 --shm-size 256m --network none --user postgres"
        " --volume p_pg1-node1:/pgdata u:1 upgrade-data /pgdata 17 18 '' --link",
    ),
    (pg_upgrade.take_back(17, 18), f"sh -c {quote(pg_upgrade.TAKE_BACK)} /pgdata 17 18"),
    (pg_upgrade.is_whole(18), "test -e /pgdata/18.upgrade/whole"),
    (pg_upgrade.updates(18), "sh -c 'cat \"$0\" 2> /dev/null || true' /pgdata/18.upgrade/update_extensions.sql"),
    (
        pg_upgrade.forget_old(17, 18),
        "sh -c "
        + quote('rm -rf "$0/$1"/pg_tblspc/*/PG_"$1"_*[0-9] "$0/$1" "$0/$1.slots" "$0/$1.log" "$0/$2.upgrade"')
        + " /pgdata 17 18",
    ),
    (pg_upgrade.analyze(17, 4), f"env {quote(postgres.FREE)} vacuumdb --all --analyze-in-stages --jobs=4"),
    (
        pg_upgrade.analyze(18, 4),
        f"env {quote(postgres.FREE)} vacuumdb --all --analyze-in-stages --jobs=4 --missing-stats-only",
    ),
    # The client
    (docker_client.context(), "docker context inspect --format '{{.Name}} {{.Endpoints.docker.Host}}'"),
    (docker_client.server_version(), "docker version --format '{{.Server.Version}}'"),
    (docker_client.info(), "docker info --format '{{json .}}'"),
    (docker.PLUGIN.version(), "docker compose version --short"),
    (docker.PROGRAM.version(), "docker-compose version --short"),
]


@pytest.mark.parametrize(("command", "line"), CASES, ids=[case[1][:60] for case in CASES])
def test_a_builder_s_command(command, line):
    assert str(command) == line


def builders():
    for module in pkgutil.iter_modules(pgha.tools.__path__):
        for name, made in vars(importlib.import_module(f"pgha.tools.{module.name}")).items():
            own = inspect.isfunction(made) and made.__module__ == f"pgha.tools.{module.name}"
            if own and made.__annotations__.get("return") == "Command" and name[0] != "_":
                yield f"{module.name}.{name}"


def test_every_builder_is_compared():
    compared = inspect.getsource(importlib.import_module(__name__))
    assert [name for name in builders() if f"{name}(" not in compared] == []


@pytest.mark.parametrize(
    ("command", "line"),
    [
        (
            patroni.ask(TOPOLOGY),
            "timeout -k 5 9 sh -c "
            + quote(
                "date +%s; "
                "curl -Zs -m 1.5 -o /dev/null -w '%{http_code} %{url_effective}\\n' "
                "'{https://etcd1:2379/health,https://etcd2:2379/health,https://etcd3:2379/health}' | "
                "{ curl --fail-early -sS -m 3 -w '\\n' https://localhost:8008/patroni"
                " --next -sS -m 2 -w '\\n' https://localhost:8008/cluster || echo; cat; }"
            ),
        ),
        (patroni.get(URLS, "cluster"), "timeout -k 5 8 curl -sS -m 3 https://localhost:8008/cluster"),
        (
            patroni.failover("pg2-node1"),
            "timeout -k 5 90 patronictl -c /pgha/config/patroni.conf failover pgha_cluster --candidate pg2-node1"
            " --force",
        ),
        (pgbackrest.check(), "timeout -k 5 120 pgbackrest --stanza=pg_ha_db --archive-timeout=60 check"),
        # It may take hours; it ends with the connection instead, for it runs on a terminal.
        (pgbackrest.backup("full"), "pgbackrest --stanza=pg_ha_db --type=full backup"),
        (Command(("echo", "a b; rm"), timeout=0), "echo 'a b; rm'"),
        (Command(("sleep", "1"), timeout=0.5), "timeout -k 5 0.5 sleep 1"),
        (Command(("sleep", "1"), timeout=9, terminal=True), "sleep 1"),
    ],
)
def test_a_remote_command_ends_by_itself(command, line):
    assert command.remote_line == line


@pytest.mark.parametrize(
    "command",
    [
        patroni.switchover("a", "b"),
        patroni.hold("not now"),
        patroni.release(),
        pgbackrest.stanza_create(),
        pgbackrest.check(),
        pgbackrest.archive_push("/pgdata/17/pg_wal/00000002.history"),
        etcd.put_config(TOPOLOGY, {}),
        etcd.forget_cluster(TOPOLOGY),
        *(make(DATA) for make in (postgres.stop, postgres.set_aside, postgres.take_back, postgres.remove_data)),
        postgres.end_recovery(),
        postgres.set_password("app", "/a/pgpass"),
        rotation.place("/f"),
        rotation.run_script(),
        rotation.reload(),
        cron.install(""),
    ],
    ids=str,
)
def test_what_changes_something_remote_is_bounded(command):
    assert command.timeout > 0
    assert not command.terminal


@pytest.mark.parametrize(
    "command",
    [
        pgbackrest.backup("full"),
        pgbackrest.restore(DATA, "a"),
        pgbackrest.verify_repository(),
        pgbackrest.verify_backup(),
    ],
    ids=str,
)
def test_what_may_take_hours_runs_on_a_terminal_and_ends_with_it(command):
    assert command.terminal
    assert command.remote_line == str(command)


def test_what_cron_records_is_bounded_as_it_was():
    assert cron.recorded("/f", "full", pgbackrest.backup("full")).terminal
    assert cron.recorded("/f", "check", pgbackrest.check()).timeout == pgbackrest.check().timeout


def test_a_command_in_a_container_takes_as_long_as_it_may():
    assert docker.execute("p-clone", pgbackrest.restore(DATA, "a")).timeout == 0
    assert docker.execute("p-clone", pgbackrest.info()).timeout == pgbackrest.info().timeout


def test_holding_patroni_back_waits_until_it_is_down():
    assert patroni.hold("not now", seconds=100).timeout > 100


@pytest.mark.parametrize(
    "key", ["failover", "failsafe", "history", "initialize", "leader", "members/pg1-node1", "status", "sync"]
)
def test_all_patroni_knows_is_forgotten_but_the_configuration(key):
    first, end = etcd.forget_cluster(TOPOLOGY).argv[-2:]
    assert first <= f"/service/pgha_cluster/{key}" < end
    kept = etcd.put_config(TOPOLOGY, {}).argv[-2]
    assert kept == "/service/pgha_cluster/config"
    assert not first <= kept < end
    assert not first <= "/service/pgha_cluster2/leader" < end


@pytest.mark.parametrize("suite", [suite for suite in SUITES.values() if suite.distribution == "debian"])
def test_a_base_is_bootstrapped_with_its_signatures_checked(suite):
    shell, option, script, name, image, *arguments = debian.bootstrap(suite, f"debian:{suite.name}-slim").argv
    assert (shell, option, name, image) == ("bash", "-c", "bootstrap", f"debian:{suite.name}-slim")
    assert "pipefail" in script
    assert 'mmdebstrap "$@" - | docker import' in script
    assert arguments[-1] == suite.name
    assert not any("trusted" in text.lower() or "unauthenticated" in text.lower() for text in arguments)
    assert any("Check-Valid-Until" in text for text in arguments) == (suite.name == "forky")


def test_a_stock_cluster_archives_as_the_manuals_say():
    assert flatten(pgbackrest.archiving(stock=True)) == {
        "postgresql.parameters.archive_command": "pgbackrest --stanza=pg_ha_db archive-push %p",
        "postgresql.recovery_conf.restore_command": 'pgbackrest --stanza=pg_ha_db archive-get %f "%p"',
        "postgresql.recovery_conf.recovery_target_timeline": "latest",
        "postgresql.create_replica_methods": ["pgbackrest", "basebackup"],
        "postgresql.pgbackrest.command": "pgbackrest --stanza=pg_ha_db --delta restore",
        "postgresql.pgbackrest.keep_data": True,
        "postgresql.pgbackrest.no_params": True,
    }
    for stock in (False, True):
        assert pgbackrest.archives(pgbackrest.archiving(stock)["postgresql"]["parameters"]["archive_command"])
    assert not pgbackrest.archives("/bin/true")


def test_archiving_is_switched_on_as_pgbackrest_asks():
    assert flatten(pgbackrest.archiving()) == {
        "postgresql.parameters.archive_command": "pgbackrest-archive-push %p",
        "postgresql.recovery_conf.restore_command": 'pgbackrest-archive-get %f "%p"',
        "postgresql.recovery_conf.recovery_target_timeline": "latest",
        "postgresql.create_replica_methods": ["pgbackrest", "basebackup"],
        "postgresql.pgbackrest.command": "clone-from-repository",
        "postgresql.pgbackrest.keep_data": True,
        "postgresql.pgbackrest.no_params": True,
    }
