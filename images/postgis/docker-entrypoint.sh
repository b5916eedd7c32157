#!/bin/bash
# Starts PostgreSQL; initialises an empty data folder first. Steps down from root, or runs as the uid it is given.
set -euo pipefail

# PGDATA may itself be a mount point, which cannot be renamed into place. So a new cluster is made in $PGDATA/.init and
# then moved up, PG_VERSION last: until that file is there, an interrupted attempt is thrown away and begun again.
init=$PGDATA/.init

fail() {
    echo "postgis: $*" >&2
    exit 1
}

# Takes the value of NAME from the file in NAME_FILE, or a default.
setting() {
    local name=$1 default=${2:-} file=${1}_FILE
    if [[ -n ${!name:-} && -n ${!file:-} ]]; then
        fail "set $name or $file, not both"
    fi
    if [[ -n ${!file:-} ]]; then
        printf -v "$name" '%s' "$(< "${!file}")"
    fi
    printf -v "$name" '%s' "${!name:-$default}"
    export "${name?}"
    unset "$file"
}

run_init_scripts() {
    local script
    for script in /docker-entrypoint-initdb.d/*; do
        case $script in
            *.sh)
                echo "postgis: running $script"
                if [[ -x $script ]]; then
                    "$script"
                else
                    # shellcheck source=/dev/null
                    . "$script"
                fi
                ;;
            *.sql)
                echo "postgis: running $script"
                psql --set=ON_ERROR_STOP=1 --no-psqlrc --file="$script"
                ;;
            *.sql.gz)
                echo "postgis: running $script"
                gunzip --stdout "$script" | psql --set=ON_ERROR_STOP=1 --no-psqlrc
                ;;
        esac
    done
}

make_cluster() {
    local password_file socket
    local -a initdb_options
    setting POSTGRES_PASSWORD
    setting POSTGRES_USER postgres
    setting POSTGRES_DB "$POSTGRES_USER"
    setting POSTGRES_INITDB_ARGS
    setting POSTGRES_HOST_AUTH_METHOD scram-sha-256
    if [[ -z $POSTGRES_PASSWORD && $POSTGRES_HOST_AUTH_METHOD != trust ]]; then
        fail "set POSTGRES_PASSWORD or POSTGRES_PASSWORD_FILE: a new database needs its superuser's password"
    fi

    if [[ -e $init ]]; then
        echo "postgis: an earlier initialisation was interrupted; starting it again"
        find "$PGDATA" -mindepth 1 -maxdepth 1 ! -name .init ! -name lost+found -exec rm -rf {} +
        rm -rf "$init"
    elif [[ -n $(find "$PGDATA" -mindepth 1 -maxdepth 1 ! -name lost+found -print -quit) ]]; then
        fail "$PGDATA holds files but no database (PG_VERSION is missing); give it an empty folder"
    fi
    mkdir -m 0700 "$init"

    password_file=$(mktemp)
    printf '%s\n' "$POSTGRES_PASSWORD" > "$password_file"
    # The arguments are words, as in the published image.
    read -r -a initdb_options <<< "$POSTGRES_INITDB_ARGS"
    initdb --pgdata="$init" --username="$POSTGRES_USER" --auth-local=trust --auth-host=scram-sha-256 \
        ${POSTGRES_PASSWORD:+--pwfile="$password_file"} "${initdb_options[@]}"
    rm "$password_file"
    printf '\nhost all all all %s\n' "$POSTGRES_HOST_AUTH_METHOD" >> "$init/pg_hba.conf"

    # Nobody but the scripts reaches this server: no TCP, and a socket where no probe looks.
    socket=$(mktemp -d)
    export PGHOST=$socket PGUSER=$POSTGRES_USER PGDATABASE=postgres
    PGDATA=$init pg_ctl --wait --silent --options="-c listen_addresses='' -c unix_socket_directories='$socket'" start
    if [[ $POSTGRES_DB != postgres ]]; then
        psql --set=ON_ERROR_STOP=1 --no-psqlrc --quiet --set=db="$POSTGRES_DB" <<< 'CREATE DATABASE :"db"'
    fi
    PGDATABASE=$POSTGRES_DB
    run_init_scripts
    pg_ctl --pgdata="$init" --wait --silent --mode=fast stop
    rm -rf "$socket"
    unset PGHOST PGUSER PGDATABASE

    find "$init" -mindepth 1 -maxdepth 1 ! -name PG_VERSION -exec mv -t "$PGDATA" {} +
    sync -f "$PGDATA"
    mv "$init/PG_VERSION" "$PGDATA/PG_VERSION"
    sync -f "$PGDATA"
    rmdir "$init"
    echo "postgis: the database is initialised"
}

if [[ $# == 0 || $1 == -* ]]; then
    set -- postgres "$@"
fi
if [[ $1 != postgres ]]; then
    exec "$@"
fi

if [[ $(id -u) == 0 ]]; then
    mkdir -p "$PGDATA"
    find "$PGDATA" /var/run/postgresql ! -user postgres -exec chown postgres:postgres {} +
    exec setpriv --reuid=postgres --regid=postgres --init-groups "$0" "$@"
fi

mkdir -p "$PGDATA"
# A volume's fsGroup opens the folder to its group, and PostgreSQL refuses that. A mount point of another owner stays.
if [[ -O $PGDATA ]]; then
    chmod 0700 "$PGDATA"
fi
if [[ ! -s $PGDATA/PG_VERSION ]]; then
    # Process 1 ignores signals it has no trap for.
    trap 'exit 143' INT TERM
    make_cluster
elif [[ -d $init ]]; then
    rmdir "$init"
fi
unset POSTGRES_PASSWORD POSTGRES_PASSWORD_FILE
exec "$@"
