//! `score.sh` as a user calls it: what comes out on stdout and stderr, what file it writes, how it ends. The clips are made
//! here; what the scores are worth is tested elsewhere.

#![allow(clippy::unwrap_used, reason = "helpers of tests, too, end the test where they fail")]

mod common;

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use common::{pipeline, play};
use gst::prelude::*;
use serde_json::Value;
use tempfile::TempDir;

fn score_command() -> Command {
    // Without a limit of time: the first call builds.
    let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("score.sh"));
    common::as_users_have(&mut command);
    command.stdin(Stdio::null());
    command
}

fn score<S: AsRef<std::ffi::OsStr>>(arguments: &[S]) -> Output {
    score_command().args(arguments).output().unwrap()
}

/// The records of a run that must end well, and what it said.
fn records<S: AsRef<std::ffi::OsStr>>(arguments: &[S]) -> (Vec<Value>, String) {
    let output = score(arguments);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(stdout.is_empty() || stdout.ends_with('\n'));
    (stdout.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect(), said)
}

fn refusal<S: AsRef<std::ffi::OsStr>>(arguments: &[S], code: i32) -> String {
    let output = score(arguments);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
    said
}

/// A clip made by a pipeline that ends in a muxer.
fn clip(folder: &TempDir, name: &str, pipeline: &str) -> PathBuf {
    let path = folder.path().join(name);
    common::file(&path, pipeline);
    path
}

/// Decodes the streams of a kind: how many buffers there are, and the caps of the first.
fn decoded(path: &Path, media: &str) -> (u64, Option<gst::Caps>) {
    let uri = glib::filename_to_uri(path, None).unwrap();
    let description = format!(
        "uridecodebin uri={uri} caps={media}(ANY) expose-all-streams=false ! fakesink name=sink sync=false signal-handoffs=true"
    );
    let pipeline = pipeline(&description);
    let (send, receive) = std::sync::mpsc::channel();
    let sink = pipeline.by_name("sink").unwrap();
    sink.connect("handoff", false, move |values| {
        let pad = values[2].get::<gst::Pad>().unwrap();
        send.send(pad.current_caps()).unwrap();
        None
    });
    play(&pipeline);
    drop((sink, pipeline));
    let caps: Vec<_> = receive.try_iter().collect();
    (caps.len() as u64, caps.into_iter().next().flatten())
}

fn size(caps: &gst::Caps) -> (i32, i32) {
    let s = caps.structure(0).unwrap();
    (s.get("width").unwrap(), s.get("height").unwrap())
}

#[test]
fn the_sample_has_a_face_and_then_none() {
    let (records, said) = records::<&str>(&[]);
    assert_eq!(records.len(), 125);
    for (index, record) in records.iter().enumerate() {
        assert_eq!(record["frame"], index);
        let faces = record["faces"].as_array().unwrap();
        match index {
            // While the camera moves off, locators differ on when the face is gone.
            0..85 => assert_eq!(faces.len(), 1, "frame {index}: {faces:?}"),
            105.. => assert!(faces.is_empty(), "frame {index}: {faces:?}"),
            _ => {}
        }
    }
    assert!(said.contains("Frames: 125 in ") && said.contains("Frames with faces: "), "{said}");
    assert!(said.contains("\nModel: ") && said.contains("It is a hint, not proof"), "{said}");
}

#[test]
fn the_overlay_keeps_every_frame_and_the_sound() {
    let folder = tempfile::tempdir().unwrap();
    // An odd size, which H.264 as everybody plays it cannot have.
    let video = clip(
        &folder,
        "odd.mkv",
        "videotestsrc num-buffers=30 ! video/x-raw,format=I420,width=321,height=241,framerate=30/1 ! vp8enc deadline=1 ! \
         matroskamux name=mux audiotestsrc num-buffers=44 ! audio/x-raw,rate=44100 ! vorbisenc ! mux. mux.",
    );
    let overlay = folder.path().join("scored video.mp4");
    let (records, said) = records(&[video.as_os_str(), "--overlay".as_ref(), overlay.as_os_str()]);
    assert_eq!(records.len(), 30);
    assert!(said.contains("scored video.mp4"), "{said}");
    let (frames, caps) = decoded(&overlay, "video/x-raw");
    assert_eq!((frames, size(&caps.unwrap())), (30, (322, 242)));
    assert!(decoded(&overlay, "audio/x-raw").0 > 0);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "nothing half-written stays");
}

#[test]
fn a_video_that_is_to_be_turned_is_scored_upright() {
    let folder = tempfile::tempdir().unwrap();
    let video = clip(
        &folder,
        "turned.mp4",
        "videotestsrc num-buffers=10 ! video/x-raw,width=320,height=240,framerate=30/1 ! x264enc speed-preset=ultrafast ! mp4mux",
    );
    // As a telephone writes it: the matrix in the header of the track says a quarter turn. GStreamer's muxer cannot.
    let mut file = std::fs::read(&video).unwrap();
    let header = file.windows(4).position(|w| w == b"tkhd").unwrap() + 4;
    let matrix = header + if file[header] == 0 { 40 } else { 52 };
    let quarter = [0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30].map(i32::to_be_bytes);
    file[matrix..][..36].copy_from_slice(quarter.as_flattened());
    std::fs::write(&video, file).unwrap();
    let overlay = folder.path().join("upright.mp4");
    let (records, _) = records(&[video.as_os_str(), "--overlay".as_ref(), overlay.as_os_str()]);
    assert_eq!(records.len(), 10);
    assert_eq!(records[0]["size"]["width"], 240);
    assert_eq!(records[0]["size"]["height"], 320);
    assert_eq!(size(&decoded(&overlay, "video/x-raw").1.unwrap()), (240, 320));
}

#[test]
fn every_frame_of_a_video_of_varying_rate_is_scored() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("varying.mkv");
    let pipeline = pipeline(&format!(
        "videotestsrc num-buffers=40 ! video/x-raw,format=Y444_10LE,width=160,height=120,framerate=30/1 ! identity name=drop ! \
         x264enc speed-preset=ultrafast ! matroskamux ! filesink location={}",
        path.display()
    ));
    // Leaves some frames out; those that stay keep their times.
    let index = AtomicU32::new(0);
    pipeline.by_name("drop").unwrap().static_pad("src").unwrap().add_probe(gst::PadProbeType::BUFFER, move |_, _| {
        match index.fetch_add(1, Ordering::Relaxed) {
            3 | 10..20 | 33 => gst::PadProbeReturn::Drop,
            _ => gst::PadProbeReturn::Ok,
        }
    });
    play(&pipeline);
    let records = records(&[&path]).0;
    assert_eq!(records.len(), 28);
    assert_eq!(records.iter().filter(|r| r["pts"].as_u64().unwrap() > 300_000_000).count(), 19);
}

#[test]
fn what_cannot_be_scored_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let sound = clip(&folder, "sound.mkv", "audiotestsrc num-buffers=20 ! vorbisenc ! matroskamux");
    let said = refusal(&[&sound], 1);
    assert!(said.contains("error: ") && said.contains("no video"), "{said}");

    let text = folder.path().join("text.mp4");
    std::fs::write(&text, "This is no video.\n".repeat(100)).unwrap();
    let said = refusal(&[&text], 1);
    assert!(said.contains("error: ") && said.contains("no video"), "{said}");

    // Cut off before its index.
    let whole = clip(&folder, "whole.mp4", "videotestsrc num-buffers=20 ! x264enc ! mp4mux");
    let cut = folder.path().join("cut.mp4");
    let bytes = std::fs::read(&whole).unwrap();
    std::fs::write(&cut, &bytes[..bytes.len() / 3]).unwrap();
    let said = refusal(&[&cut], 1);
    assert!(said.contains("error: ") && said.contains("no video"), "{said}");

    let said = refusal(&["/nowhere/video.mp4"], 2);
    assert!(said.contains("/nowhere/video.mp4: No such file"), "{said}");

    let said = refusal(&["--face-sorce=frame"], 2);
    assert!(said.contains("--face-source"), "{said}");

    let overlay = folder.path().join("nowhere/out.mp4");
    let said = refusal(&["--overlay".as_ref(), overlay.as_os_str()], 1);
    assert!(said.contains("overlay") && said.contains("out.mp4: No such file"), "{said}");

    // Not the video's fault.
    let said = refusal(&["--model=nowhere.onnx"], 1);
    assert!(said.contains("nowhere.onnx") && !said.contains("no video"), "{said}");
}

#[test]
fn help_lists_the_properties_on_stdout() {
    let output = score(&["--help"]);
    assert!(output.status.success());
    let help = String::from_utf8(output.stdout).unwrap();
    for option in ["--overlay", "--model", "--face-source", "--provider", "--threads"] {
        assert!(help.contains(option), "{option} is not in:\n{help}");
    }
}

/// A video whose records are far more than a pipe holds: while nobody reads them, the run cannot end.
fn long_video(folder: &TempDir) -> PathBuf {
    clip(
        folder,
        "long.mkv",
        "videotestsrc num-buffers=3000 pattern=black ! video/x-raw,width=64,height=64,framerate=30/1 ! \
         x264enc speed-preset=ultrafast ! matroskamux",
    )
}

#[test]
fn a_reader_that_has_enough_ends_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let mut run =
        score_command().arg(long_video(&folder)).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut reader = BufReader::new(run.stdout.take().unwrap());
    reader.read_line(&mut String::new()).unwrap();
    drop(reader);
    let output = run.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stderr).contains("stopped before its end"));
}

#[test]
fn an_interrupted_run_keeps_what_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let overlay = folder.path().join("out.mp4");
    let mut run = score_command()
        .args([long_video(&folder).as_os_str(), "--overlay".as_ref(), overlay.as_os_str()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut reader = BufReader::new(run.stdout.take().unwrap());
    reader.read_line(&mut String::new()).unwrap();
    assert!(Command::new("kill").args(["-INT", &run.id().to_string()]).status().unwrap().success());
    let mut rest = String::new();
    reader.read_to_string(&mut rest).unwrap();
    let output = run.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(said.contains("stopped before its end"), "{said}");
    assert!(rest.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()));
    assert!(decoded(&overlay, "video/x-raw").0 > 0);
}

#[test]
fn the_two_lines_at_the_end_make_the_plugin_known() {
    let folder = tempfile::tempdir().unwrap();
    let video =
        clip(&folder, "a.mkv", "videotestsrc num-buffers=3 ! video/x-raw,width=160,height=120 ! jpegenc ! matroskamux");
    let (_, said) = records(&[video]);
    let end = said.lines().skip_while(|line| !line.starts_with("To use the plugin"));
    let lines: Vec<&str> = end.filter_map(|line| line.strip_prefix("    ")).collect();
    assert_eq!(lines.len(), 2, "{said}");
    let told = |lines: &[&str]| {
        let mut shell = Command::new("bash");
        shell
            .arg("-ec")
            .arg(lines.join("\n"))
            .env_remove("GST_PLUGIN_PATH")
            .env("GST_REGISTRY", folder.path().join("registry"));
        let output = shell.output().unwrap();
        output.status.success() && String::from_utf8(output.stdout).unwrap().contains("Factory Details")
    };
    assert!(told(&lines) && !told(&lines[1..]), "{lines:?}");
}
