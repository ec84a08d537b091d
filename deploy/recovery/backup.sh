#!/bin/sh
# Takes a base backup of BACKUP_URL into the folder $1/base and keeps the $2 newest ones, with the WAL they need. The WAL is written by
# pg_receivewal beside this, so a backup holds none.
set -eu
backups=$1
keep=$2
mkdir -p "$backups/base"
name=$(date -u +%Y%m%dT%H%M%SZ)
rm -rf "$backups"/base/*.draft
pg_basebackup --dbname "$BACKUP_URL" --pgdata "$backups/base/$name.draft" --format plain --checkpoint fast --wal-method none --manifest-checksums SHA256 --no-password
# Named when it is whole: a backup that was cut off is never restored.
sync
mv "$backups/base/$name.draft" "$backups/base/$name"
ls -1 "$backups/base" | grep -v '\.draft$' | sort -r | tail -n "+$((keep + 1))" | while read -r old; do rm -rf "${backups:?}/base/${old:?}"; done
oldest=$(ls -1 "$backups/base" | grep -v '\.draft$' | sort | head -n 1)
first=$(sed -n 's/^START WAL LOCATION: .*(file \([0-9A-F]*\))$/\1/p' "$backups/base/$oldest/backup_label")
[ -z "$first" ] || pg_archivecleanup "$backups/wal" "$first"
echo "base backup $name taken; the oldest is $oldest"
