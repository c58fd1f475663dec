#!/bin/sh
# Steps of the container images, as root in a fresh Debian: Python, the wheel and its command.
# Expects the wheel and constraints.txt next to this file. pip's environment variables apply, such as
# PIP_EXTRA_INDEX_URL for wheels of PyTorch without CUDA.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends ca-certificates python3 python3-venv
rm -rf /var/lib/apt/lists/*
python3 -m venv /opt/freezebench
/opt/freezebench/bin/python -m pip install --no-cache-dir --disable-pip-version-check \
    --constraint "$here/constraints.txt" "$here"/freezebench-*.whl
ln -sf /opt/freezebench/bin/freezebench /usr/local/bin/freezebench
freezebench --version
