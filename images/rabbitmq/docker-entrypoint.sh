#!/bin/bash
# Starts RabbitMQ as user rabbitmq: steps down from root, or runs as the uid it is given.
set -euo pipefail

umask 0027

if [[ ${1:-} == -* ]]; then
    set -- rabbitmq-server "$@"
fi

if [[ ${1:-} == rabbitmq* && $(id -u) == 0 ]]; then
    find /var/lib/rabbitmq ! -user rabbitmq -exec chown rabbitmq:rabbitmq {} +
    exec setpriv --reuid=rabbitmq --regid=rabbitmq --init-groups "$0" "$@"
fi

cookie=$HOME/.erlang.cookie
if [[ ${1:-} == rabbitmq-server ]]; then
    if [[ -n ${RABBITMQ_ERLANG_COOKIE:-} ]]; then
        if [[ ! -e $cookie ]]; then
            (umask 0377 && printf '%s' "$RABBITMQ_ERLANG_COOKIE" > "$cookie")
        elif [[ $(< "$cookie") != "$RABBITMQ_ERLANG_COOKIE" ]]; then
            echo "rabbitmq: $cookie differs from RABBITMQ_ERLANG_COOKIE; remove one of them" >&2
            exit 1
        fi
    fi
    # A volume's fsGroup adds group rights, and Erlang refuses a cookie that others can read.
    if [[ -O $cookie ]]; then
        chmod 0400 "$cookie"
    fi
fi

exec "$@"
