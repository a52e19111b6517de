//! What others read: the examples in C and in Python print what a reader in Rust finds, and DL Streamer's parameters are on
//! the regions.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use gst::prelude::*;
use gst_video::VideoRegionOfInterestMeta;
use gstdeepfake::meta::{Face, Scores};

mod common;

/// The first frame of the sample, scored four times.
fn description(model: &Path) -> String {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../pipelines/sample/collins.mp4");
    format!(
        "filesrc location={} ! decodebin ! imagefreeze num-buffers=4 ! deepfakescore min-face-size=20 model={}",
        sample.display(),
        model.display()
    )
}

/// The buffers that come out of a pipeline.
fn run(description: &str) -> Vec<gst::Buffer> {
    common::init();
    let pipeline = gst::parse::launch(&format!("{description} ! fakesink name=end")).unwrap();
    let pipeline = pipeline.downcast::<gst::Pipeline>().unwrap();
    let buffers = Arc::new(Mutex::new(vec![]));
    let sink = buffers.clone();
    pipeline.by_name("end").unwrap().static_pad("sink").unwrap().add_probe(
        gst::PadProbeType::BUFFER,
        move |_, info| {
            sink.lock().unwrap().push(info.buffer().unwrap().clone());
            gst::PadProbeReturn::Ok
        },
    );
    pipeline.set_state(gst::State::Playing).unwrap();
    let types = [gst::MessageType::Eos, gst::MessageType::Error];
    let end = pipeline.bus().unwrap().timed_pop_filtered(gst::ClockTime::from_seconds(60), &types);
    assert!(matches!(end.as_ref().map(|m| m.view()), Some(gst::MessageView::Eos(_))), "{end:?}");
    pipeline.set_state(gst::State::Null).unwrap();
    std::mem::take(&mut *buffers.lock().unwrap())
}

/// What the examples print for a frame.
fn text(scores: &Scores) -> String {
    let mut text = format!("frame {}: {} faces, by {}\n", scores.frame, scores.faces.len(), scores.by.model);
    for face in &scores.faces {
        write!(text, "  track {} {}", face.track, face.verdict).unwrap();
        match &face.outcome {
            Err(reason) => write!(text, " not scored: {}", reason.name()).unwrap(),
            Ok(score) => {
                write!(text, " score {:.4} logit {:.4}", score.score, score.logit).unwrap();
                if let Some(map) = &score.map {
                    let mean = map.values.iter().map(|v| f64::from(*v)).sum::<f64>() / map.values.len() as f64;
                    write!(text, " map {}x{} mean {mean:.4}", map.width, map.height).unwrap();
                }
            }
        }
        if let Some(r) = face.bbox {
            write!(text, " at {:.4},{:.4} {:.4}x{:.4}", r.x, r.y, r.w, r.h).unwrap();
        }
        text.push('\n');
    }
    text
}

/// Where the plugin of this build lies, alone in a folder.
fn plugin(folder: &Path) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let library = test.with_file_name("libgstdeepfake.so");
    let plugins = folder.join("plugins");
    std::fs::create_dir(&plugins).unwrap();
    std::os::unix::fs::symlink(library, plugins.join("libgstdeepfake.so")).unwrap();
    plugins
}

/// What a command prints.
fn output(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(output.status.success(), "{command:?}\n{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name)
}

/// The reader in C, compiled as its head says.
fn compiled(folder: &Path) -> PathBuf {
    let flags =
        output(Command::new("pkg-config").args(["--cflags", "--libs", "gstreamer-app-1.0", "gstreamer-video-1.0"]));
    let program = folder.join("scores");
    let mut cc = Command::new("cc");
    cc.args(["-Wall", "-Wextra", "-Werror"]).arg(example("scores.c")).arg("-o").arg(&program);
    output(cc.args(flags.split_whitespace()));
    program
}

#[test]
fn readers_in_c_and_python_print_what_one_in_rust_finds() {
    let folder = tempfile::tempdir().unwrap();
    let description = description(&common::brightness_model(folder.path()));
    let plugins = plugin(folder.path());
    let in_c = compiled(folder.path());
    // With boxes, and where they are lost: a cropper tells where they are now from 1.28 on.
    for (end, boxes) in [("", true), (" ! videocrop left=8", gst::version() >= (1, 28, 0, 0))] {
        let description = format!("{description}{end}");
        let expected: String = run(&description).iter().map(|b| text(&Scores::from_buffer(b).unwrap())).collect();
        assert!(expected.contains(" score "), "no face in the sample?\n{expected}");
        assert_eq!(expected.contains(" at "), boxes, "{expected}");
        // As a user calls it: with the Python that Debian's packages of bindings are for.
        for mut reader in [Command::new(&in_c), Command::new(example("scores.py"))] {
            assert_eq!(output(reader.arg(&description).env("GST_PLUGIN_PATH", &plugins)), expected, "{reader:?}");
        }
    }
}

#[test]
fn readers_tell_of_errors() {
    let folder = tempfile::tempdir().unwrap();
    for mut reader in [Command::new(compiled(folder.path())), Command::new(example("scores.py"))] {
        let output = reader.arg("filesrc location=/does/not/exist ! identity").env("LC_ALL", "C").output().unwrap();
        assert!(!output.status.success());
        assert_eq!(String::from_utf8_lossy(&output.stderr), "Resource not found.\n", "{reader:?}");
    }
}

#[test]
fn regions_have_what_readers_of_dl_streamer_look_for() {
    let folder = tempfile::tempdir().unwrap();
    let mut faces = 0;
    for buffer in run(&description(&common::brightness_model(folder.path()))) {
        let scores = Scores::from_buffer(&buffer).unwrap();
        let regions: Vec<_> = buffer.iter_meta::<VideoRegionOfInterestMeta>().collect();
        assert_eq!(regions.len(), scores.faces.len());
        for (roi, face) in regions.iter().zip(&scores.faces) {
            assert_eq!(roi.roi_type(), "face");
            check(roi, face);
            faces += 1;
        }
    }
    assert!(faces > 0);
}

fn check(roi: &VideoRegionOfInterestMeta, face: &Face) {
    let score = face.outcome.as_ref().unwrap().score;
    let param = roi.param("deepfake").unwrap();
    assert_eq!(param.get::<&str>("label"), Ok(face.verdict.name()));
    assert_eq!(param.get::<i32>("label_id"), Ok(2), "undecided, as after so few frames");
    assert_eq!(param.get::<f64>("confidence"), Ok(score.max(1.0 - score)));
    assert_eq!(param.get::<f64>("score"), Ok(score));
    assert_eq!(param.get::<&str>("model_name"), Ok("brightness"));

    let param = roi.param("detection").unwrap();
    let bbox = face.bbox.unwrap();
    let told = ["x_min", "y_min", "x_max", "y_max"].map(|side| param.get::<f64>(side).unwrap() as f32);
    assert_eq!(told, [bbox.x, bbox.y, bbox.right(), bbox.bottom()].map(|v| v.clamp(0.0, 1.0)));
    assert_eq!(param.get::<f64>("confidence"), Ok(face.confidence));
    assert_eq!(param.get::<i32>("label_id"), Ok(0));
    assert!(!param.get::<&str>("model_name").unwrap().is_empty());
    assert_eq!(roi.param("object_id").unwrap().get::<i32>("id"), Ok(face.track as i32));
}
