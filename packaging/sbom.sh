#!/usr/bin/env bash
# Writes what the plugin and the program behind pipelines/score.sh are made of as a CycloneDX 1.5 file (JSON): every Rust crate that is
# built in, with its version, licence and the SHA-256 that Cargo.lock pins; ONNX Runtime; the bundled models with their digests.
#
#     packaging/sbom.sh [FILE]        the standard output by default
#
# The same sources give the same file. Nothing is installed, and no network is needed once the crates are there.
set -euo pipefail

# shellcheck source=pipelines/setup.sh
source "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/../pipelines/setup.sh"
find_toolchain || die "cargo is needed, to tell which crates are inside"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
(cd "$root" && cargo metadata --locked --format-version 1 >"$work/metadata.json")
(cd "$root" && cargo tree --locked --package gst-plugin-deepfake --package deepfake-pipelines --edges normal --prefix none \
    --format '{p}' | sed 's/ (.*//' | sort --unique >"$work/crates.txt")
read -r ort_version ort_sha256 <<<"$(wheel onnxruntime)"

python3 - "$root" "$work" "$ort_version" "$ort_sha256" >"$work/sbom.json" <<'PYTHON'
import hashlib, json, pathlib, re, sys, tomllib, uuid

root, work, ort_version, ort_sha256 = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), *sys.argv[3:]
metadata = json.loads((work / "metadata.json").read_text())
wanted = {tuple(line.split(" v")) for line in (work / "crates.txt").read_text().splitlines() if line}
checksums = {(p["name"], p["version"]): p.get("checksum") for p in tomllib.loads((root / "Cargo.lock").read_text())["package"]}


def crate(package):
    name, version = package["name"], package["version"]
    purl = f"pkg:cargo/{name}@{version}"
    component = {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}
    if package.get("license"):
        # Old crates write "A/B" where SPDX has "A OR B".
        component["licenses"] = [{"expression": re.sub(r"\s*/\s*", " OR ", package["license"])}]
    if checksums.get((name, version)):
        component["hashes"] = [{"alg": "SHA-256", "content": checksums[name, version]}]
    return component


def model(path):
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return {
        "type": "machine-learning-model", "bom-ref": f"model:{path.stem}", "name": path.stem, "version": digest[:12],
        "hashes": [{"alg": "SHA-256", "content": digest}],
    }


packages = sorted((p for p in metadata["packages"] if (p["name"], p["version"]) in wanted), key=lambda p: (p["name"], p["version"]))
missing = wanted - {(p["name"], p["version"]) for p in packages}
if missing:
    sys.exit(f"error: cargo tells nothing of {sorted(missing)}")
components = [crate(p) for p in packages]
components.append({
    "type": "library", "bom-ref": "onnxruntime", "name": "onnxruntime", "version": ort_version,
    "purl": f"pkg:pypi/onnxruntime@{ort_version}", "licenses": [{"expression": "MIT"}],
    "hashes": [{"alg": "SHA-256", "content": ort_sha256}],
    "description": "The wheel that libonnxruntime.so is taken from",
})
components += [model(root / "plugin/models/scorer.onnx"), model(root / "scoring/models/locator.onnx")]
version = next(p["version"] for p in packages if p["name"] == "gst-plugin-deepfake")
bom = {
    "bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1,
    "metadata": {"component": {"type": "application", "bom-ref": "deepfakescore", "name": "deepfakescore", "version": version}},
    "components": components,
    "dependencies": [{"ref": "deepfakescore", "dependsOn": [c["bom-ref"] for c in components]}],
}
# Of what is inside, so that it changes with it and only then.
bom["serialNumber"] = f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(bom, sort_keys=True))}"
json.dump(bom, sys.stdout, indent=1)
print()
PYTHON
if [[ -n ${1:-} ]]; then
    install --mode 644 "$work/sbom.json" "$1"
else
    cat "$work/sbom.json"
fi
