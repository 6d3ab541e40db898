# Sourced by every finding: `packages NAME==VERSION …` makes a temporary environment, `run` reads a Python program from
# standard input and runs it there, away from this repository. Everything is removed when the script ends.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export HF_HUB_OFFLINE=1 HF_HUB_DISABLE_PROGRESS_BARS=1 TRANSFORMERS_VERBOSITY=error MLFLOW_DISABLE_TELEMETRY=true PYTHONWARNINGS=ignore

# Torch comes first and alone: resolved together with others, another build could be chosen.
packages() {
    ${PYTHON:-python3} -m venv "$work/venv"
    for package in "$@"; do
        case $package in torch==*) "$work/venv/bin/pip" install --quiet --disable-pip-version-check "$package" 2>/dev/null ;; esac
    done
    "$work/venv/bin/pip" install --quiet --disable-pip-version-check "$@" 2>/dev/null
}

run() { (cd "$work" && "$work/venv/bin/python" -); }
