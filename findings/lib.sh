# Sourced by every finding. `packages NAME==VERSION …` creates a temporary environment. `run` reads a Python program from
# standard input and runs it there, outside this repository. The environment is removed at the end of the script.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export HF_HUB_OFFLINE=1 HF_HUB_DISABLE_PROGRESS_BARS=1 TRANSFORMERS_VERBOSITY=error MLFLOW_DISABLE_TELEMETRY=true PYTHONWARNINGS=ignore

# Torch is installed first and by itself: resolved with other packages, pip could choose another build.
packages() {
    ${PYTHON:-python3} -m venv "$work/venv"
    for package in "$@"; do
        case $package in torch==*) "$work/venv/bin/pip" install --quiet --disable-pip-version-check "$package" 2>/dev/null ;; esac
    done
    "$work/venv/bin/pip" install --quiet --disable-pip-version-check "$@" 2>/dev/null
}

run() { (cd "$work" && "$work/venv/bin/python" -); }
