#!/bin/sh
# Lays out the newest base backup of the folder $1 in the empty folder $2, so that PostgreSQL started there replays WAL up to the moment $3 (RFC 3339
# in UTC, e.g. 2026-11-21T12:00:00Z; without it, to the last there is) and then serves. With `scratch` as $4 it serves its own machine without
# passwords, archives nothing, and is not durable: for drills. $5 names the base backup; default the newest before the moment.
set -eu
backups=$1
data=$2
moment=${3:-}
purpose=${4:-}
base=${5:-}
if [ -n "$(ls -A "$data" 2>/dev/null)" ]; then echo "$data is not empty" >&2; exit 1; fi
# Names of backups are moments without punctuation, and sort as such.
latest=$(printf '%s' "${moment:-99999999T999999Z}" | tr -d ':-' | sed 's/\..*Z$/Z/')
[ -n "$base" ] || for candidate in $(ls -1 "$backups/base" | grep -v '\.draft$' | sort); do
  if [ "$(printf '%s\n%s\n' "$candidate" "$latest" | sort | head -n 1)" = "$candidate" ]; then base=$candidate; fi
done
if [ -z "$base" ]; then echo "there is no base backup before ${moment:-now} in $backups/base" >&2; exit 1; fi
mkdir -p "$data"
cp -R "$backups/base/$base/." "$data/"
chmod 700 "$data"
rm -f "$data/postmaster.pid" "$data/postmaster.opts"
mkdir -p "$data/pg_wal"
[ -f "$data/postgresql.conf" ] || touch "$data/postgresql.conf"
{
  # The last segment is still being written where WAL is received as a stream.
  echo "restore_command = 'cp \"$backups/wal/%f\" \"%p\" || cp \"$backups/wal/%f.partial\" \"%p\"'"
  echo "recovery_target_action = 'promote'"
  # Replaying wants these at least as large as they were, and a server that is configured from outside takes none of them along. Not where nobody
  # is served before it is done, as in drills, which are run where there may be no more of PostgreSQL than its server.
  [ "$purpose" = scratch ] || LC_ALL=C pg_controldata "$data" | sed -n \
    -e 's/^\(max_connections\) setting: */\1 = /p' -e 's/^\(max_worker_processes\) setting: */\1 = /p' -e 's/^\(max_wal_senders\) setting: */\1 = /p' \
    -e 's/^max_prepared_xacts setting: */max_prepared_transactions = /p' -e 's/^max_locks_per_xact setting: */max_locks_per_transaction = /p'
  # PostgreSQL takes no Z here.
  if [ -n "$moment" ]; then echo "recovery_target_time = '${moment%Z}+00'"; fi
  if [ "$purpose" = scratch ]; then
    printf '%s\n' "archive_mode = 'off'" "listen_addresses = '127.0.0.1'" "unix_socket_directories = ''" "hba_file = '$data/pg_hba.conf'" "ssl = 'off'" "hot_standby = 'off'" "max_prepared_transactions = 100" "fsync = 'off'" "shared_preload_libraries = ''"
  fi
} >> "$data/postgresql.auto.conf"
if [ "$purpose" = scratch ]; then echo 'host all all 127.0.0.1/32 trust' > "$data/pg_hba.conf"; fi
touch "$data/recovery.signal"
echo "$base"
