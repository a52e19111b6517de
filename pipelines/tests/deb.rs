//! The Debian package: what it holds works where nothing of this project is.

#![allow(clippy::unwrap_used, reason = "helpers of tests, too, end the test where they fail")]

mod common;

use std::path::Path;

use common::{command, records, sample, script, succeeds};

#[test]
fn the_package_holds_what_gst_launch_needs() {
    let folder = tempfile::tempdir().unwrap();
    let (path, _) = succeeds(script("../packaging/deb.sh").arg(folder.path()));
    let tree = folder.path().join("tree");
    succeeds(command("dpkg-deb").arg("--extract").arg(path.trim()).arg(&tree));
    let (control, _) = succeeds(command("dpkg-deb").arg("--field").arg(path.trim()));
    assert!(control.contains("Package: gstreamer1.0-deepfake\n"), "{control}");
    for needed in ["libgstreamer1.0-0", "libpangocairo-1.0-0", "libstdc++6", "gstreamer1.0-plugins-base"] {
        assert!(
            control.lines().any(|line| line.starts_with("Depends: ") && line.contains(needed)),
            "{needed}: {control}"
        );
    }
    let doc = tree.join("usr/share/doc/gstreamer1.0-deepfake");
    for (file, word) in [
        ("copyright", "MPL-2.0"),
        ("onnxruntime-LICENSE", "MIT"),
        ("onnxruntime-ThirdPartyNotices.txt", "Copyright"),
        ("crates.txt", "ort v"),
        ("scorer.md", "terms"),
    ] {
        let text = std::fs::read_to_string(doc.join(file)).unwrap();
        assert!(text.to_lowercase().contains(&word.to_lowercase()), "{file}");
    }

    let library = std::fs::read_dir(tree.join("usr/lib")).unwrap().next().unwrap().unwrap().path();
    let plugins = library.join("gstreamer-1.0");
    assert!(
        plugins.read_dir().unwrap().all(|entry| entry.unwrap().file_type().unwrap().is_file()),
        "no links to elsewhere"
    );
    let in_package = |program: &Path| {
        let mut command = command(program);
        command.env("GST_PLUGIN_PATH", &plugins).env("GST_REGISTRY", folder.path().join("registry.bin"));
        command
    };
    let pipeline = format!(
        "filesrc location={} ! decodebin ! identity eos-after=5 ! deepfakescore ! deepfakejson name=records ! fakesink records.json \
         ! fdsink",
        sample().display()
    );
    let (lines, _) = succeeds(in_package(Path::new("gst-launch-1.0")).arg("--quiet").args(pipeline.split_whitespace()));
    let records = records(&lines);
    assert!(records.len() >= 4 && records.iter().all(|r| r["faces"][0]["score"].is_number()), "{records:?}");
    let (version, _) = succeeds(in_package(&tree.join("usr/bin/deepfake-score")).arg("--version"));
    assert!(version.contains(env!("CARGO_PKG_VERSION")), "{version}");
}
