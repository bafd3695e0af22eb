#!/usr/bin/env bash
# Debian packages that the tests need: a browser for the browser SDK, Node.js for the JavaScript SDKs, Java and Maven for
# Kafka, systemd to judge its units, a C compiler. Installs only what is missing; without root or apt it says what to install.
set -euo pipefail

missing=()
command -v chromium >/dev/null || missing+=(chromium)
command -v node >/dev/null || missing+=(nodejs)
command -v npm >/dev/null || missing+=(npm)
java_version=$(java -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p') || true
[ "${java_version:-0}" -ge 17 ] || missing+=(default-jre-headless) # 17 on Debian 12, 21 on Debian 13
command -v mvn >/dev/null || missing+=(maven)
# the compiler that built this Python, and its headers: for the wheel with compiled modules
compiler=$("${PYTHON:-python3}" -c 'import sysconfig; print((sysconfig.get_config_var("CC") or "cc").split()[0])')
command -v "$compiler" >/dev/null || missing+=(gcc libc6-dev)
headers=$("${PYTHON:-python3}" -c 'import sysconfig; print(sysconfig.get_path("include"))')
if [ ! -f "$headers/Python.h" ]; then
  case $headers in
    /usr/include/*) missing+=(python3-dev) ;; # Debian's own Python; another brings its headers along, or cannot compile
    *) echo "The tests compile modules, and $headers/Python.h is missing: install the headers of ${PYTHON:-python3}." >&2; exit 1 ;;
  esac
fi
command -v systemd-analyze >/dev/null || missing+=(systemd)
[ ${#missing[@]} -eq 0 ] && exit 0

if ! command -v apt-get >/dev/null || [ "$(id -u)" -ne 0 ]; then
  echo "The tests need: ${missing[*]}. Install them (Debian: sudo apt-get install ${missing[*]}) and run again." >&2
  exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
