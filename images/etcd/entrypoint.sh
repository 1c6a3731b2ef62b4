#!/bin/sh
# Compose delivers secrets with the owner they have on the host. etcd gets copies of its own of the certificates, where
# there are any, and runs as the user etcd.
set -eu
for name in ca.crt host.crt host.key; do
    if [ -e "/run/secrets/$name" ]; then
        install -o etcd -g etcd -m 0600 "/run/secrets/$name" "/pgha/tls/$name"
    fi
done

serve="setpriv --reuid=etcd --regid=etcd --init-groups etcd --config-file /run/secrets/etcd.yml"
[ -z "${PGHA_STOCK:-}" ] || exec $serve

ask() { etcdctl "--endpoints=$(sed -n 's/^advertise-client-urls: //p' /run/secrets/etcd.yml)" \
    --dial-timeout=1s --command-timeout=2s "$@" 2>/dev/null; }

# Fields of `endpoint status`: endpoint, id, version, size, whether it leads, ...; of `member list`: id, status, name,
# peers, clients, whether it is a learner.
hand_over() {
    own=$(ask endpoint status | awk -F', ' '$5 == "true" { print $2 }')
    [ -n "$own" ] || return 0
    for other in $(ask member list | awk -F', ' -v own="$own" '$2 == "started" && $1 != own && $6 != "true" { print $1 }'); do
        if ask move-leader "$other"; then return 0; fi
    done
}

# An etcd that is told to end answers what it is asked meanwhile, with TLS by errors that Patroni takes for the loss of
# its lock: the leader's Postgres is restarted (patroni/issues/3118). One that ends at once answers nothing, and Patroni
# asks another member. What it has acknowledged is on disk.
end() {
    trap '' TERM INT
    hand_over || true
    kill -s KILL "$!"
    exit 0
}

trap end TERM INT
$serve &
wait "$!"
