#!/bin/sh
# Compose delivers secrets as root's files. Each reader wants a copy with its own owner and mode; nothing is
# generated here. Then s6 becomes PID 1: it reaps, starts the services, and on SIGTERM stops them and waits.
set -eu

place() { # name owner mode target
    if [ -e "/run/secrets/$1" ]; then
        install -o "$2" -g "$2" -m "$3" "/run/secrets/$1" "$4"
    fi
}

place sshd_config     root     0600 /pgha/ssh/sshd_config
place host_key        root     0600 /pgha/ssh/host_key
place authorized_keys root     0644 /pgha/ssh/authorized_keys
place known_hosts     root     0644 /etc/ssh/ssh_known_hosts
place ssh_config      root     0644 /etc/ssh/ssh_config.d/pgha.conf
place id_ed25519      postgres 0600 /var/lib/postgresql/.ssh/id_ed25519
place pgbackrest.conf postgres 0600 /pgha/config/pgbackrest.conf
place patroni.conf    postgres 0600 /pgha/config/patroni.conf
place pgpass          postgres 0600 /pgha/config/pgpass
place ca.crt          postgres 0600 /pgha/tls/ca.crt
place host.crt        postgres 0600 /pgha/tls/host.crt
place host.key        postgres 0600 /pgha/tls/host.key
if [ -e /run/secrets/crontab ]; then crontab -u postgres /run/secrets/crontab; fi

# A killed container keeps its /run: the lock file of Postgres' socket then names a process number that may belong to
# another process now, and Postgres would not start.
rm -f /run/postgresql/.s.PGSQL.*

# With arguments: these instead of the services.
[ $# -gt 0 ] || set -- s6-svscan /service
exec "$@"
