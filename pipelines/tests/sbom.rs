//! `packaging/sbom.sh`: what is inside, each with a digest.

use std::path::Path;

use serde_json::Value;

mod common;
use common::command;

fn sbom() -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/sbom.sh");
    let output = command(script).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn the_list_of_what_is_inside_is_whole_and_the_same_each_time() {
    let sbom = sbom();
    assert_eq!((&sbom["bomFormat"], &sbom["specVersion"]), (&"CycloneDX".into(), &"1.5".into()));
    let components = sbom["components"].as_array().unwrap();
    let named =
        |name: &str| components.iter().find(|c| c["name"] == name).unwrap_or_else(|| panic!("{name} is not listed"));
    for name in ["gst-plugin-deepfake", "deepfake-scoring", "deepfake-pipelines"] {
        named(name);
    }
    for name in ["ort", "rumqttc", "onnxruntime", "scorer", "locator"] {
        let digest = named(name)["hashes"][0]["content"].as_str().unwrap();
        assert!(digest.len() == 64 && digest.bytes().all(|b| b.is_ascii_hexdigit()), "{name}: {digest}");
    }
    // Of crates, all but our own are pinned.
    let unpinned =
        components.iter().filter(|c| c["hashes"].is_null()).filter(|c| c["licenses"][0]["expression"] != "MPL-2.0");
    assert_eq!(unpinned.count(), 0);
    // The trainer, and so libtorch, is not inside.
    assert!(components.iter().all(|c| c["name"] != "tch"));
    assert_eq!(self::sbom(), sbom);
}
