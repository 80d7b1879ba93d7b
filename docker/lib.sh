# Sourced by the scripts beside it: what they say, and how they find Docker and Compose.
# shellcheck shell=bash

set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

image=metabuilder-postfix
may_install=yes

say() { printf '==> %s\n' "$*" >&2; }

die() {
    printf '%s: %s\n' "docker/$(basename "$0")" "$*" >&2
    exit 1
}

# install PACKAGE...: Debian packages, for root on a Debian-like machine and unless --no-install was given.
install() {
    [ "$may_install" = yes ] || die "$1 is missing and --no-install was given; install it and try again"
    [ "$(id -u)" = 0 ] || die "$1 is missing; install it, or run this as root to have it installed"
    command -v apt-get >/dev/null || die "$1 is missing and there is no apt-get here; install it and try again"
    say "installing $* from Debian's packages"
    apt-get update -qq >&2
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$@" >&2
}

engine_answers() { docker version --format '{{.Server.Version}}' >/dev/null 2>&1; }

# Why no engine answers, in docker's own words.
why_not() { docker version 2>&1 >/dev/null | tail -n 1; }

# Makes sure that a Docker engine answers, installing and starting Debian's where there is none.
need_engine() {
    engine_answers && return
    [ -z "${DOCKER_HOST:-}" ] || die "the engine at DOCKER_HOST=$DOCKER_HOST does not answer: $(why_not)"
    if command -v docker >/dev/null && [ "$(id -u)" != 0 ]; then
        die "no docker engine answers: $(why_not) (start it; are you in group docker?)"
    fi
    command -v dockerd >/dev/null || install docker.io
    command -v docker >/dev/null || install docker-cli
    engine_answers && return
    [ "$may_install" = yes ] || die "no docker engine answers and --no-install was given; start one and try again"
    if [ -d /run/systemd/system ]; then
        say "starting docker.service"
        systemctl start docker || die "docker.service does not start; read journalctl -u docker"
    else
        say "starting dockerd (its log: /var/log/mailroom-dockerd.log)"
        setsid dockerd >/var/log/mailroom-dockerd.log 2>&1 </dev/null &
    fi
    local deadline=$((SECONDS + 60))
    until engine_answers; do
        [ $SECONDS -lt $deadline ] || die "the docker engine did not answer within 60 s: $(why_not)"
        sleep 0.2
    done
}

# Sets the array `compose` to Compose v2 or v1, installing Debian's where there is neither.
need_compose() {
    find_compose || { install docker-compose && find_compose; } || die "no docker compose here"
}

find_compose() {
    if docker compose version >/dev/null 2>&1; then
        compose=(docker compose)
    elif command -v docker-compose >/dev/null; then
        compose=(docker-compose)
    else
        return 1
    fi
}

has_image() { docker image inspect "$1" >/dev/null 2>&1; }

# The classic builder where there is no buildx: newer clients ask for it otherwise.
choose_builder() {
    docker buildx version >/dev/null 2>&1 || export DOCKER_BUILDKIT=0
}

# The part of the option handling that all scripts share; sets `rest` to what is left.
parse_common_options() {
    rest=()
    for option in "$@"; do
        case $option in
            --no-install) may_install=no ;;
            -h | --help) usage; exit 0 ;;
            *) rest+=("$option") ;;
        esac
    done
}
