# Sourced by the scripts beside it: finds Python, keeps the virtual environment up to date.
# Sets `root` (the checkout) and, after `prepare run` or `prepare dev`, `venv`.

root=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd -P)

say() { printf 'meshnode: %s\n' "$*" >&2; }
die() { say "$@"; exit 1; }

choose_venv() {
  if [ -n "${MESHNODE_VENV:-}" ]; then
    venv=$(realpath -m -- "$MESHNODE_VENV")
  elif [ -e "$root/.venv" ] || [ -w "$root" ]; then
    venv=$root/.venv
  else # a read-only checkout
    venv=${XDG_CACHE_HOME:-${HOME:?is not set, and the checkout is read-only}/.cache}/meshnode/venv-$(cksum <<<"$root" | cut -d' ' -f1)
  fi
  unset MESHNODE_VENV # ours, not a setting of the daemon
}

# What must be unchanged for the environment to count as ready.
fingerprint() {
  printf '%s\n' "$root" "$(readlink -f "$venv/bin/python")"
  (cd "$root" && sha256sum pyproject.toml requirements/run.txt requirements/dev.txt)
}

is_ready() { # run|dev
  [ -x "$venv/bin/python" ] && [ -r "$venv/ready-$1" ] && [ "$(fingerprint)" = "$(<"$venv/ready-$1")" ]
}

# The first interpreter that is new enough and can make virtual environments.
choose_python() {
  local candidate unfit=
  for candidate in python3.14 python3.13 python3.12 python3.11 python3; do
    command -v "$candidate" >/dev/null || continue
    "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue
    if "$candidate" -c 'import ensurepip, venv' 2>/dev/null; then
      python=$candidate
      return 0
    fi
    unfit=$candidate
  done
  python=$unfit
  return 1
}

require_python() {
  choose_python && return
  [ -n "$python" ] || die "needs Python 3.11 or newer; found $(python3 --version 2>/dev/null || echo none)"
  say "$python cannot make virtual environments. Type this, then start again:"
  echo "sudo apt-get install python3-venv" >&2
  exit 1
}

quietly() { # on failure show the end of the output
  local output
  output=$("$@" 2>&1 </dev/null) || { tail -n 15 <<<"$output" >&2; return 1; }
}

attempt() {
  quietly "$@" && return
  say "setting up failed (above). Check the network connection and the free disk space, then start again."
  die "If it fails again, remove $venv and start again."
}

install() { # run|dev
  local pip=("$venv/bin/python" -I -m pip --disable-pip-version-check --no-input install --quiet)
  [ ! -L "$venv" ] || die "$venv is a link, and what it points to may be another checkout's: remove it, or set MESHNODE_VENV"
  if [ -e "$venv" ] && [ -n "$(ls -A "$venv")" ]; then
    [ -e "$venv/pyvenv.cfg" ] || die "$venv is not a virtual environment: remove it, or set MESHNODE_VENV"
    [ -w "$venv" ] || die "$venv belongs to $(stat -c %U "$venv"): remove it, or set MESHNODE_VENV to another place"
  fi
  python=
  if ! "$venv/bin/python" -I -m pip --version >/dev/null 2>&1 || [ "$(cat "$venv/root" 2>/dev/null)" != "$root" ]; then
    require_python
  fi
  say "setting up (once, about half a minute)…"
  rm -f "$venv"/ready-*
  if [ -n "$python" ]; then
    attempt "$python" -I -m venv --clear "$venv"
    printf '%s\n' "$root" >"$venv/root"
  fi
  attempt "${pip[@]}" --require-hashes -r "$root/requirements/$1.txt"
  attempt "${pip[@]}" --no-build-isolation --no-deps -e "$root"
  fingerprint >"$venv/ready-run.new" # the dev set contains the run set
  [ "$1" = run ] || cp "$venv/ready-run.new" "$venv/ready-$1"
  mv "$venv/ready-run.new" "$venv/ready-run"
}

prepare() { # run|dev
  choose_venv
  is_ready "$1" && return
  mkdir -p "$(dirname "$venv")" || die "cannot create $(dirname "$venv")"
  (: >>"$venv.lock") 2>/dev/null || die "cannot write beside $venv: set MESHNODE_VENV to another place"
  exec 9>>"$venv.lock"
  if command -v flock >/dev/null && ! flock -n 9; then
    say "waiting for another start that is setting up…"
    flock 9
  fi
  if ! is_ready "$1"; then install "$1"; fi
  exec 9>&-
}
