#!/bin/bash
# Entrypoint of the sandbox's PostgreSQL images: does what the official image's does,
# as far as dokku-postgres and its users can see a difference.
#
#   no data yet      initdb as superuser POSTGRES_USER (postgres) with POSTGRES_PASSWORD,
#                    database POSTGRES_DB, scripts of /docker-entrypoint-initdb.d
#                    (what initdb makes without any wishes is unpacked from the image: seconds
#                    less for each of the suite's hundreds of services. One file, because a
#                    thousand small ones are slow to read where the storage is FUSE)
#   then             replaces itself with the server as the user postgres (uid 999),
#                    listening on all addresses: it is PID 1, so that `docker stop`
#                    reaches it (STOPSIGNAL SIGINT: a fast shutdown)
#   arguments        go to the server: `docker run IMAGE -c shared_buffers=256MB`
#   another command  runs as it is: `docker run IMAGE bash`
set -euo pipefail
# As PID 1 this shell would ignore what it has no handler for: a container that is stopped
# while it starts would hang until it is killed.
trap 'exit 130' INT TERM

if [[ $# -eq 0 || ${1:0:1} == - ]]; then
  set -- postgres "$@"
fi
[[ $1 == postgres ]] || exec "$@"

if [[ $(id -u) -eq 0 ]]; then
  # The server refuses to run as root, and its files must be readable by nobody else.
  mkdir -p "$PGDATA" /var/run/postgresql
  chmod 700 "$PGDATA"
  chmod 3775 /var/run/postgresql
  find "$PGDATA" /var/run/postgresql \! -user postgres -exec chown postgres:postgres '{}' +
  exec setpriv --reuid postgres --regid postgres --init-groups "$0" "$@"
fi

initialise() {
  local superuser=${POSTGRES_USER:-postgres} database file
  local -a sql
  database=${POSTGRES_DB:-$superuser}
  if [[ -z ${POSTGRES_PASSWORD:-} && ${POSTGRES_HOST_AUTH_METHOD:-} != trust ]]; then
    echo 'Error: Database is uninitialized and superuser password is not specified.' >&2
    echo '       You must specify POSTGRES_PASSWORD to a non-empty value for the superuser.' >&2
    exit 1
  fi
  # Trusted inside the container, a password from outside: the official image's rules.
  if [[ -f $PGDATA_READY && $superuser == postgres && -z ${POSTGRES_INITDB_ARGS:-} ]]; then
    tar -xf "$PGDATA_READY" -C "$PGDATA"
    printf "ALTER ROLE postgres PASSWORD '%s'\n" "${POSTGRES_PASSWORD//\'/\'\'}" |
      postgres --single -F -D "$PGDATA" postgres >/dev/null
  else
    # shellcheck disable=SC2086 # POSTGRES_INITDB_ARGS is a list of options
    initdb --pgdata="$PGDATA" --username="$superuser" --encoding=UTF8 \
      --auth=trust --pwfile=<(printf '%s\n' "${POSTGRES_PASSWORD:-}") ${POSTGRES_INITDB_ARGS:-}
  fi
  printf '\nhost all all all %s\n' "${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}" >>"$PGDATA/pg_hba.conf"

  # A server without a network, so that nobody takes a half made one for ready.
  sql=(psql -v ON_ERROR_STOP=1 --no-password --no-psqlrc --username "$superuser")
  if [[ $database != postgres ]] || compgen -G '/docker-entrypoint-initdb.d/*' >/dev/null; then
    pg_ctl -D "$PGDATA" -o "-c listen_addresses=''" -w start
    if [[ $database != postgres ]]; then
      "${sql[@]}" --dbname postgres --set db="$database" <<<'CREATE DATABASE :"db";'
    fi
    for file in /docker-entrypoint-initdb.d/*; do
      case $file in
        *.sql) "${sql[@]}" --dbname "$database" -f "$file" ;;
        *.sh) bash "$file" ;;
      esac
    done
    pg_ctl -D "$PGDATA" -m fast -w stop
  fi
  echo 'PostgreSQL init process complete; ready for start up.'
}

[[ -s $PGDATA/PG_VERSION ]] || initialise
unset POSTGRES_PASSWORD
exec "$@"
