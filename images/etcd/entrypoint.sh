#!/bin/sh
# Compose delivers secrets with the owner they have on the host. etcd gets copies of its own of the certificates, where
# there are any, and then runs as the user etcd.
set -eu
for name in ca.crt host.crt host.key; do
    if [ -e "/run/secrets/$name" ]; then
        install -o etcd -g etcd -m 0600 "/run/secrets/$name" "/pgha/tls/$name"
    fi
done
exec setpriv --reuid=etcd --regid=etcd --init-groups etcd --config-file /run/secrets/etcd.yml
