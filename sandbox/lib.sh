# shellcheck shell=bash
# What every script of the sandbox shares: where things lie, how it speaks.
# Sourced, never run.
#
#   SANDBOX_ROOT   state of one sandbox: services, apps, S3 data. Several sandboxes
#                  can stand side by side, each with a root of its own.
#   SANDBOX_CACHE  what is expensive to get and the same for all of them: the Python
#                  venv with SeaweedFS and the AWS CLI, downloaded wheels.
#   SANDBOX_BUCKET the bucket that the S3 server starts with.

set -euo pipefail

SANDBOX_ROOT=${SANDBOX_ROOT:-/var/lib/pgbackup-sandbox}
SANDBOX_CACHE=${SANDBOX_CACHE:-/var/cache/pgbackup-sandbox}
SANDBOX_BUCKET=${SANDBOX_BUCKET:-sportfin-prod-database-backups}
SANDBOX_IMAGE=pgbackup-sandbox/postgres
export SANDBOX_ROOT SANDBOX_CACHE SANDBOX_BUCKET SANDBOX_IMAGE

SANDBOX_HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
CHECKOUT=$(dirname "$SANDBOX_HERE")
export SANDBOX_HERE CHECKOUT

VENV=$SANDBOX_CACHE/venv
# The default PATH of an unprivileged user, with the stand-ins of this sandbox first.
SANDBOX_PATH=$SANDBOX_ROOT/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export VENV SANDBOX_PATH

say() { printf -- '-----> %s\n' "$*" >&2; }
detail() { printf '       %s\n' "$*" >&2; }
fail() {
  printf ' !     %s\n' "$@" >&2
  exit 1
}

# The sandbox changes users and owners, so it runs as root: asks sudo when it is there.
need_root() {
  [[ $(id -u) -eq 0 ]] && return 0
  command -v sudo >/dev/null || fail "The sandbox needs root (it creates the user dokku): run it as root, or install sudo"
  # secure_path would hide a cargo that lives in the caller's home, so PATH is handed over.
  exec sudo --preserve-env=SANDBOX_ROOT,SANDBOX_CACHE,SANDBOX_BUCKET,PGBACKUP_BINARY,KEEP,CARGO_HOME,RUSTUP_HOME,CARGO_TARGET_DIR \
    env "PATH=$PATH" "CARGO_HOME=${CARGO_HOME:-$HOME/.cargo}" "RUSTUP_HOME=${RUSTUP_HOME:-$HOME/.rustup}" "$0" "$@"
}

# A Dokku that is not one of our stand-ins: then the sandbox uses it instead of pretending.
real_dokku() {
  [[ -f /home/dokku/VERSION || -f /var/lib/dokku/STABLE_VERSION ]] && [[ -x /usr/bin/dokku || -x /usr/local/bin/dokku ]]
}

# Runs a command as the user dokku, the way `sudo -u dokku -H` would.
as_dokku() {
  setpriv --reuid dokku --regid dokku --init-groups -- \
    env HOME="$SANDBOX_ROOT/dokku" USER=dokku LOGNAME=dokku PATH="$SANDBOX_PATH" "$@"
}

# Starts a server that outlives this script: in a session of its own, and without the open
# files of its caller (a pipe that stays open would let `make demo | tee log` wait for ever).
#   daemon LOG COMMAND… ; its process id is then in $!
daemon() {
  local log=$1
  shift
  (
    for fd in "/proc/$BASHPID/fd/"*; do
      fd=${fd##*/}
      if ((fd > 2)); then eval "exec $fd>&-"; fi
    done
    exec setsid "$@"
  ) </dev/null >"$log" 2>&1 &
}

# One demo or test run in one sandbox: a second one would take it away under the first.
# Held until the calling script ends.
alone() {
  mkdir -p "$SANDBOX_CACHE"
  exec 8>"$SANDBOX_CACHE/${SANDBOX_ROOT##*/}.lock"
  flock --nonblock 8 || fail "Another run uses the sandbox $SANDBOX_ROOT" "Wait until it has ended, or give this one its own: SANDBOX_ROOT=/var/lib/…"
}

# One at a time: two sandboxes that start together would fetch and build the same things.
# Held until the calling script ends.
take_turns() {
  mkdir -p "$SANDBOX_CACHE"
  exec 9>"$SANDBOX_CACHE/lock"
  flock 9
}
