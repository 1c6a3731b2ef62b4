#!/bin/sh
# Adds the PostgreSQL project's apt repository with the script and key that Debian and Ubuntu ship for it.
set -eu
apt-get update
DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends ca-certificates postgresql-common
for script in /usr/share/postgresql-common/pgdg/apt.*.sh; do
    sh "$script" -y
done
apt-get update -o APT::Update::Error-Mode=any
