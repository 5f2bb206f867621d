#!/usr/bin/env bash
# Sets up the peers in a virtual environment beside this script: `bash benches/peers/setup.sh`.
set -euo pipefail
cd "$(dirname "$0")"
python3 -m venv .venv
.venv/bin/pip install --quiet --upgrade pip
# PyTorch's index has a build without CUDA, 2 GB smaller; its own wheel on PyPI is as fast on the processor.
.venv/bin/pip install --quiet --retries 1 torch==2.15.0 --index-url https://download.pytorch.org/whl/cpu ||
    .venv/bin/pip install --quiet torch==2.15.0
.venv/bin/pip install --quiet numpy==2.4.6 keras==3.15.1 jax==0.10.2 tensorflow-cpu==2.21.0
.venv/bin/python -c "import torch, keras, jax, tensorflow as tf; print(torch.__version__, keras.__version__, jax.__version__, tf.__version__)"
