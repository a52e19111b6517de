//! The pages in `docs/elements`: each element has one, what it says of pads and properties is what GStreamer says, and its
//! examples run. `UPDATE_PAGES=1 cargo test -p gst-plugin-deepfake --test elements` writes the generated parts anew.

#![allow(clippy::unwrap_used, reason = "helpers of tests, too, end the test where they fail")]

mod common;

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use gst::prelude::*;

const BEGIN: &str =
    "<!-- What follows is written by plugin/tests/elements.rs from what the element says of itself. -->\n";
const END: &str = "<!-- End of what is written by the test. -->\n";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn page(element: &str) -> PathBuf {
    root().join("docs/elements").join(element).with_extension("md")
}

/// The elements of the plugin, by name.
fn factories() -> Vec<gst::ElementFactory> {
    common::init();
    let mut factories: Vec<_> = gst::Registry::get()
        .features_by_plugin("deepfake")
        .into_iter()
        .filter_map(|feature| feature.downcast::<gst::ElementFactory>().ok())
        .collect();
    factories.sort_by_key(|f| f.name());
    assert!(factories.len() >= 3, "{factories:?}");
    factories
}

/// What the element says of itself.
fn generated(factory: &gst::ElementFactory) -> String {
    let mut text = String::from(BEGIN);
    let class = factory.metadata("klass").unwrap();
    writeln!(text, "\n{}. Class `{class}`.\n\n## Pads\n", factory.metadata("description").unwrap()).unwrap();
    writeln!(text, "| pad | direction | when | caps |\n|---|---|---|---|").unwrap();
    let element = factory.create().build().unwrap();
    for template in element.pad_template_list() {
        let direction = if template.direction() == gst::PadDirection::Src { "out" } else { "in" };
        let when = match template.presence() {
            gst::PadPresence::Always => "always",
            gst::PadPresence::Sometimes => "sometimes",
            _ => "on request",
        };
        let caps: Vec<_> = template.caps().iter_with_features().map(|(s, features)| caps(s, features)).collect();
        writeln!(text, "| `{}` | {direction} | {when} | {} |", template.name_template(), caps.join("<br>")).unwrap();
    }
    writeln!(text, "\n## Properties\n\n| property | type | default | may change | meaning |\n|---|---|---|---|---|")
        .unwrap();
    let mut properties = element.list_properties().to_vec();
    properties.retain(|p| p.owner_type() == element.type_());
    for property in properties {
        writeln!(text, "{}", row(&element, &property)).unwrap();
    }
    text.push('\n');
    text.push_str(END);
    text
}

fn caps(structure: &gst::StructureRef, features: &gst::CapsFeaturesRef) -> String {
    // One line for each kind of media; long lists of formats are for the eye.
    let mut text = format!("`{}`", structure.name());
    if features.is_any() {
        text.push_str(" in any memory");
    }
    for (name, value) in structure.iter() {
        let value = value.serialize().unwrap().replace("(string)", "").replace("(fraction)", "").replace("(int)", "");
        let value = value.trim_matches(|c| "{} ".contains(c)).trim();
        write!(text, ", {name}: {value}").unwrap();
    }
    text
}

fn row(element: &gst::Element, property: &glib::ParamSpec) -> String {
    let flags = property.flags();
    let writable = flags.contains(glib::ParamFlags::WRITABLE);
    let playing = glib::ParamFlags::from_bits_retain(gst::ffi::GST_PARAM_MUTABLE_PLAYING as u32);
    let readable = flags.contains(glib::ParamFlags::READABLE);
    let may = match (writable, flags.contains(playing)) {
        (false, _) => "read only",
        (true, true) => "at any time",
        (true, false) => "in NULL and READY",
    };
    let mut meaning = property.blurb().unwrap_or_default().to_owned();
    let choices = glib::EnumClass::with_type(property.value_type());
    for value in choices.iter().flat_map(|c| c.values()) {
        write!(meaning, "<br>`{}`: {}", value.nick(), value.name()).unwrap();
    }
    let kind = match property.value_type().name() {
        _ if choices.is_some() => "choice".to_owned(),
        "gchararray" => "text".to_owned(),
        "gboolean" => "boolean".to_owned(),
        "GstStructure" => "structure".to_owned(),
        other => range(property).unwrap_or_else(|| other.to_owned()),
    };
    // A default is what a new element has; what can only be read, or only be written, has none.
    let default = if writable && readable { value(&element.property_value(property.name())) } else { String::new() };
    format!("| `{}` | {kind} | {default} | {may} | {meaning} |", property.name())
}

fn value(value: &glib::Value) -> String {
    if let Some((_, v)) = glib::EnumValue::from_value(value) {
        return format!("`{}`", v.nick());
    }
    match value.get::<Option<String>>() {
        Ok(None) => "unset".to_owned(),
        Ok(Some(text)) => format!("`{text}`"),
        Err(_) => format!("`{}`", value.serialize().unwrap()),
    }
}

fn range(property: &glib::ParamSpec) -> Option<String> {
    macro_rules! of {
        ($($spec:ty, $what:literal;)*) => {
            $(if let Some(p) = property.downcast_ref::<$spec>() {
                return Some(format!("{}, {} to {}", $what, p.minimum(), p.maximum()));
            })*
        };
    }
    of! {
        glib::ParamSpecUInt, "whole number";
        glib::ParamSpecInt, "whole number";
        glib::ParamSpecUInt64, "whole number";
        glib::ParamSpecInt64, "whole number";
        glib::ParamSpecFloat, "number";
        glib::ParamSpecDouble, "number";
    }
    None
}

#[test]
fn pages_say_what_the_elements_say() {
    let update = std::env::var_os("UPDATE_PAGES").is_some();
    for factory in factories() {
        let path = page(&factory.name());
        let old = std::fs::read_to_string(&path)
            .unwrap_or_else(|e| panic!("{}: {e}: each element has a page", path.display()));
        let parts = old.split_once(BEGIN).and_then(|(head, rest)| Some((head, rest.split_once(END)?.1)));
        let (head, tail) = parts.unwrap_or_else(|| panic!("{}: no\n{BEGIN}...\n{END}", path.display()));
        let new = format!("{head}{}{tail}", generated(&factory));
        if update {
            std::fs::write(&path, new).unwrap();
        } else {
            assert!(
                new == old,
                "{} is not what the element says of itself: UPDATE_PAGES=1 cargo test -p gst-plugin-deepfake --test elements",
                path.display()
            );
        }
    }
}

/// The lines of the blocks marked `sh`.
fn examples(page: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut lines = page.lines();
    while lines.by_ref().any(|line| line == "```sh") {
        blocks.push(lines.by_ref().take_while(|line| *line != "```").collect::<Vec<_>>().join("\n"));
    }
    blocks
}

#[test]
fn examples_of_the_pages_run() {
    // GStreamer's own programs, with the plugin of this build, in a folder that looks like the project's.
    let plugins = tempfile::tempdir().unwrap();
    let built = std::env::current_exe().unwrap().with_file_name("libgstdeepfake.so");
    std::os::unix::fs::symlink(&built, plugins.path().join("libgstdeepfake.so")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for name in ["pipelines", "plugin"] {
        std::os::unix::fs::symlink(root().join(name), folder.path().join(name)).unwrap();
    }
    for factory in factories() {
        let page = std::fs::read_to_string(page(&factory.name())).unwrap();
        let examples = examples(&page);
        assert!(
            examples.iter().any(|e| e.contains("gst-launch-1.0") && e.contains(&*factory.name())),
            "{}",
            factory.name()
        );
        for example in examples {
            let output = Command::new("bash")
                .args(["-euo", "pipefail", "-c", &example])
                .current_dir(folder.path())
                .env("GST_PLUGIN_PATH", plugins.path())
                .env("GST_REGISTRY", plugins.path().join("registry.bin"))
                .stdin(Stdio::null())
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && !said.contains("WARNING"), "{}: {example}\n{said}", factory.name());
        }
    }
}
