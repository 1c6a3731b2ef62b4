#!/bin/sh
# Compose delivers secrets as root's files; those who read them get copies of their own. Then s6 becomes PID 1.
set -eu

place() { # name mode folder
    if [ -e "/run/secrets/$1" ]; then
        install -o prometheus -g prometheus -m "$2" "/run/secrets/$1" "$3/$1"
    fi
}

for name in prometheus.yml rules.yml alertmanager.yml; do place "$name" 0644 /pgha/monitoring; done
rm -f /pgha/monitoring/notify_url
place notify_url 0600 /pgha/monitoring
for name in ca.crt host.crt host.key; do place "$name" 0600 /pgha/tls; done
install -d -o prometheus -g prometheus -m 0700 /var/lib/prometheus/metrics /var/lib/prometheus/alertmanager

# With arguments: these instead of the services.
[ $# -gt 0 ] || set -- s6-svscan /service
exec "$@"
