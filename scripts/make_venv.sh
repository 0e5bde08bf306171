#!/bin/sh
# make_venv.sh DIR: make a virtual environment in DIR with the first Python on PATH that is new enough, or say what to install.
# PYTHON=/path/to/python in the environment is the only one tried.
dir=$1
without_venv=
too_old=

# One that somebody made by hand is kept.
if "$dir/bin/python" -c 'import pip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    exit 0
fi

for python in ${PYTHON:-python3.14 python3.13 python3.12 python3.11 python3 python}; do
    command -v "$python" >/dev/null 2>&1 || continue
    # A pyenv shim of a version that is not switched on is on PATH and fails to run: it is passed over like an old one.
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue
    if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        too_old="$too_old $python ($version)"
    elif ! "$python" -c 'import venv, ensurepip' 2>/dev/null; then
        without_venv=${without_venv:-$version}
    else
        echo "Python $version ($(command -v "$python")) makes $dir"
        exec "$python" -m venv --clear "$dir"
    fi
done

if [ -n "$without_venv" ]; then
    echo "Python $without_venv is here, but its venv module is not. Install it and run make again:" >&2
    echo "    sudo apt install python3-venv        (or python$without_venv-venv, where $without_venv is not the system's own)" >&2
else
    echo "tinygrad_seq needs Python 3.11 or newer; found:${too_old:- none}. Install one and run make again:" >&2
    echo "    Debian 12, Ubuntu 24.04:  sudo apt install python3 python3-venv" >&2
    echo "    Ubuntu 22.04:             sudo apt install python3.11 python3.11-venv" >&2
    echo "    Fedora:                   sudo dnf install python3.12" >&2
    echo "    macOS:                    brew install python@3.13, or the installer from python.org" >&2
    echo "A Python elsewhere:           make PYTHON=/path/to/python3.12" >&2
fi
exit 1
