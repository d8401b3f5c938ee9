# The Python package: built with what .venv has, installed there or as a wheel by itself. Sourced by ./dev.
# shellcheck shell=bash

# Compiled in build/wheel, where a second build finds its objects.
build_wheel() {  # FOLDER
  need_packages cmake ninja-build g++ ccache
  need_python python/requirements-test.txt
  mkdir -p "$1"
  rm -f "$1"/qjl-*.whl
  # By these names, under which ccache knows what the release build has compiled.
  CC=cc CXX=c++ .venv/bin/python -m pip wheel -q --disable-pip-version-check --no-deps --no-build-isolation -w "$1" . >&2
}

# .venv has the package as the sources stand.
need_package() {
  local sources stamp
  sources=$(find pyproject.toml CMakeLists.txt cmake include src python -type f ! -name '*.pyc' -print0 | LC_ALL=C sort -z |
    xargs -0 sha256sum | sha256sum | cut -c1-16)
  stamp=.venv/package-$sources
  [[ -e $stamp ]] && return
  say "building the Python package"
  build_wheel .cache/wheel
  .venv/bin/python -m pip install -q --disable-pip-version-check --no-deps --force-reinstall .cache/wheel/qjl-*.whl >&2
  rm -f .venv/package-*
  touch "$stamp"
}

# An older Transformers in a folder that PYTHONPATH puts before .venv, whose torch and other packages it shares.
need_old_transformers() {
  local folder=.cache/transformers-5.19 pins=python/requirements-transformers-5.19.txt stamp
  stamp=$folder/installed-$(sha256sum "$pins" | cut -c1-16)
  [[ -e $stamp ]] && return
  say "installing the Python packages of $pins"
  rm -rf "$folder"
  .venv/bin/python -m pip install -q --disable-pip-version-check --no-deps --target "$folder" -r "$pins" >&2
  touch "$stamp"
}

# The wheel in an environment that has NumPy alone.
verb_wheel() {
  build_wheel dist
  local wheel home=.cache/wheel/clean
  wheel=$(echo dist/qjl-*.whl)
  say "installing $wheel into a clean environment"
  rm -rf "$home"
  "$(find_python)" -m venv "$home" >&2
  "$home/bin/python" -m pip install -q --disable-pip-version-check "$wheel" >&2
  "$home/bin/python" -I tests/python_package/smoke.py "$wheel"
}
