//! Files that are broken, as real demuxers and decoders make frames of them: whatever comes out is scored, and whatever does not come
//! ends in order.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use deepfake_scoring::score::NotScored;
use gst::prelude::*;

mod common;
mod play;

use common::brightness_model;
use play::{pipeline, watch};

/// Nothing comes any more of a damaged file of a second that has given nothing for that long.
const SILENCE: gst::ClockTime = gst::ClockTime::from_seconds(3);

/// How a file of some frames is made.
const KINDS: [(&str, &str); 6] = [
    ("h264.mp4", "x264enc speed-preset=ultrafast key-int-max=8 ! mp4mux"),
    ("h264.mkv", "x264enc speed-preset=ultrafast bframes=2 ! matroskamux"),
    ("h264.ts", "x264enc speed-preset=ultrafast key-int-max=8 ! h264parse ! mpegtsmux"),
    ("vp8.webm", "vp8enc deadline=1 ! webmmux"),
    ("motion.avi", "jpegenc ! avimux"),
    ("theora.ogg", "theoraenc ! oggmux"),
];

/// Numbers, the same in each run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 20) as usize % end.max(1)
    }
}

/// Damage as disks, networks and people do it.
fn damage(bytes: &mut Vec<u8>, seed: u64) {
    let mut numbers = Numbers(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    match seed % 6 {
        0 => {
            let length = numbers.below(bytes.len());
            bytes.truncate(length);
        }
        1 | 2 => {
            for _ in 0..1 + numbers.below(100) {
                let at = numbers.below(bytes.len());
                bytes[at] = numbers.below(256) as u8;
            }
        }
        3 => {
            let (at, length) = (numbers.below(bytes.len()), numbers.below(2000));
            let end = bytes.len().min(at + length);
            bytes[at..end].fill(if seed % 4 == 1 { 0xff } else { 0 });
        }
        4 => {
            let (from, to) = (numbers.below(bytes.len()), numbers.below(bytes.len()));
            let length = numbers.below(3000).min(bytes.len() - from.max(to));
            bytes.copy_within(from..from + length, to);
        }
        _ => {
            // Sizes and counts of the container, which stand in its first bytes.
            for _ in 0..4 {
                let at = numbers.below(bytes.len().min(1000));
                bytes[at] = 0xff;
            }
        }
    }
}

/// Plays a file for as long as anything comes within `silence`. How many frames were scored, and whether it ended as it should.
fn play(file: &Path, model: &Path, silence: gst::ClockTime) -> (usize, bool) {
    let pipeline = pipeline(&format!(
        "filesrc location={} ! decodebin name=d ! deepfakescore mode=every-frame face-source=frame on-error=passthrough model={} \
         ! deepfakeoverlay ! deepfakejson name=j ! fakesink name=out sync=false async=false j.json ! fakesink sync=false async=false",
        file.display(),
        model.display()
    ));
    let played = watch(&pipeline);
    // By whoever posts it: what is on the bus when the pipeline is stopped is lost.
    let warned = Arc::new(AtomicBool::new(false));
    let bus = pipeline.bus().unwrap();
    bus.set_sync_handler({
        let warned = Arc::clone(&warned);
        move |_, message| {
            let scorer = message.src().is_some_and(|source| source.type_().name() == "GstDeepfakeScore");
            if scorer && message.type_() == gst::MessageType::Warning {
                warned.store(true, Ordering::SeqCst);
            }
            gst::BusSyncReply::Pass
        }
    });
    let _ = pipeline.set_state(gst::State::Playing);
    let mut seen = 0;
    let eos = loop {
        let types = [gst::MessageType::Eos, gst::MessageType::Error];
        if let Some(message) = bus.timed_pop_filtered(silence, &types) {
            break message.type_() == gst::MessageType::Eos;
        }
        // Demuxers that give up without a word are no matter of ours, as long as the pipeline can be stopped.
        let now = played.lock().unwrap().frames.len();
        if std::mem::replace(&mut seen, now) == now {
            break false;
        }
    };
    pipeline.set_state(gst::State::Null).unwrap();
    let played = played.lock().unwrap();
    let mut scored = 0;
    for (pts, scores) in &played.frames {
        let Some(scores) = scores else {
            // A damaged header may tell of frames that are larger than any can be.
            assert!(warned.load(Ordering::SeqCst), "{}: {pts:?} has no scores, and nobody says why", file.display());
            continue;
        };
        match &scores.faces[0].outcome {
            Ok(score) => {
                assert!(score.logit.is_finite(), "{}", file.display());
                scored += 1;
            }
            // Or of some that are smaller than any face.
            Err(reason) => assert_eq!(*reason, NotScored::TooSmall, "{}", file.display()),
        }
    }
    (scored, eos)
}

fn damaged_files(files: u64) {
    common::init();
    let folder = tempfile::tempdir().unwrap();
    let model = brightness_model(folder.path());
    let kind = |(name, tail): (&str, &str)| {
        let whole = folder.path().join(name);
        let text = format!(
            "videotestsrc num-buffers=24 pattern=ball ! video/x-raw,format=I420,width=160,height=120,framerate=25/1 ! {tail} \
             ! filesink name=out location={}",
            whole.display()
        );
        assert!(play::play(&text).eos, "{name}");
        // It ends by itself, however long it takes to begin.
        assert_eq!(play(&whole, &model, play::PATIENCE), (24, true), "{name}");
        let bytes = std::fs::read(&whole).unwrap();
        let mut frames = 0;
        for seed in 0..files {
            let mut damaged = bytes.clone();
            damage(&mut damaged, seed);
            let path = folder.path().join(format!("{seed}-{name}"));
            std::fs::write(&path, damaged).unwrap();
            frames += play(&path, &model, SILENCE).0;
        }
        assert!(frames > 0, "{name}: of damaged files something can be scored all the same");
        println!("{name}: {frames} frames scored out of {files} damaged files");
    };
    // Most of the time is spent waiting for what does not come.
    std::thread::scope(|scope| KINDS.iter().for_each(|k| drop(scope.spawn(|| kind(*k)))));
}

/// `DAMAGED_FILES` says how many of each kind, 6 where nothing is said; `tests/soak.sh --media` takes 300.
#[test]
fn damaged_files_are_scored_as_far_as_they_can_be_decoded() {
    let files = std::env::var("DAMAGED_FILES").map_or(6, |n| n.parse().expect("DAMAGED_FILES is a number"));
    damaged_files(files);
}
