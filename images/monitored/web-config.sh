# web_config: the flag that lets an exporter speak TLS, and only with who shows a certificate of this project's; nothing
# where it shall not (PGHA_TLS). The files are read anew for each connection.
web_config() {
    [ -n "$PGHA_TLS" ] || return 0
    # In one step: the other exporter may be reading it.
    cat > "/run/pgha/web.yml.$$" <<END
tls_server_config:
  cert_file: /pgha/tls/host.crt
  key_file: /pgha/tls/host.key
  client_ca_file: /pgha/tls/ca.crt
  client_auth_type: RequireAndVerifyClientCert
END
    mv "/run/pgha/web.yml.$$" /run/pgha/web.yml
    echo --web.config.file=/run/pgha/web.yml
}
