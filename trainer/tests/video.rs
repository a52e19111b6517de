//! Videos become upright frames.

mod support;

use std::path::Path;

use deepfake_trainer::video::{Frame, Options, Video, frames_in, spread};
use image::{Rgb, RgbImage};
use proptest::prelude::*;
use support::video::{RATE, Writing, write_video};

/// Frames that tell their number by their brightness, with a red left and a blue right third.
fn pictures(count: usize, width: u32, height: u32) -> impl Iterator<Item = RgbImage> {
    (0..count).map(move |n| {
        RgbImage::from_fn(width, height, |x, _| match 3 * x / width {
            0 => Rgb([200, 30, 30]),
            1 => Rgb([40 + 3 * n as u8; 3]),
            _ => Rgb([30, 30, 200]),
        })
    })
}

fn at(frame: &Frame, x: f64, y: f64) -> [i32; 3] {
    let p = frame.picture().unwrap();
    let (x, y) = ((x * p.width as f64) as usize, (y * p.height as f64) as usize);
    let i = 3 * (y * p.width + x);
    [0, 1, 2].map(|c| i32::from(p.data[i + c]))
}

fn is_near(a: [i32; 3], b: [i32; 3], by: i32) -> bool {
    a.iter().zip(b).all(|(a, b)| (a - b).abs() <= by)
}

/// The frame's number, as its middle shows it.
fn number(frame: &Frame) -> i32 {
    let [r, g, b] = at(frame, 0.5, 0.5);
    (((r + g + b) as f64 / 3.0 - 40.0) / 3.0).round() as i32
}

fn all(path: &Path, options: Options) -> Vec<Frame> {
    Video::open(path, options).unwrap().collect::<Result<_, _>>().unwrap()
}

#[test]
fn every_frame_comes_once_in_order() {
    let folder = tempfile::tempdir().unwrap();
    for (name, writing) in [
        ("h264.mp4", Writing::default()),
        ("mpeg4.avi", Writing { encoder: "avenc_mpeg4 bitrate=4000000", muxer: "avimux" }),
        ("motion.mkv", Writing { encoder: "jpegenc", muxer: "matroskamux" }),
    ] {
        let path = folder.path().join(name);
        write_video(&path, pictures(41, 98, 64), writing);
        let frames = all(&path, Options::default());
        assert_eq!(frames.len(), 41, "{name}");
        assert_eq!(frames_in(&path).unwrap(), 41, "{name}");
        for (n, frame) in frames.iter().enumerate() {
            assert_eq!((frame.index, frame.size()), (n as u64, (98, 64)), "{name}");
            assert_eq!(number(frame), n as i32, "{name}");
            let pts = frame.pts.unwrap().as_secs_f64();
            assert!((pts - n as f64 / f64::from(RATE)).abs() < 0.002, "{name}: frame {n} at {pts} s");
        }
    }
}

#[test]
fn some_frames_are_spread_evenly() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("v.mp4");
    write_video(&path, pictures(40, 64, 48), Writing::default());
    let of = |count| -> Vec<i32> {
        spread(&path, count, Options::default()).unwrap().map(|f| number(&f.unwrap())).collect()
    };
    assert_eq!(of(4), [5, 15, 25, 35]);
    assert_eq!(of(1), [20]);
    assert_eq!(of(0), [0; 0]);
    assert_eq!(of(100), (0..40).collect::<Vec<_>>());
}

#[test]
fn a_file_that_cannot_be_counted_is_decoded_for_it() {
    let folder = tempfile::tempdir().unwrap();
    // Nothing parses Y4M, but there is a decoder of it.
    let path = folder.path().join("v.y4m");
    write_video(
        &path,
        pictures(20, 64, 48),
        Writing { encoder: "capsfilter caps=video/x-raw,format=I420", muxer: "y4menc" },
    );
    let found: Vec<_> = spread(&path, 2, Options::default()).unwrap().map(|f| number(&f.unwrap())).collect();
    assert_eq!(found, [5, 15]);
}

#[test]
fn frames_are_turned_upright() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("v.mp4");
    write_video(&path, pictures(3, 96, 64), Writing::default());
    // A quarter turn clockwise, in the track's header, where telephones note it: the muxer cannot be asked to.
    let mut bytes = std::fs::read(&path).unwrap();
    let matrix = |m: [i32; 9]| m.into_iter().flat_map(i32::to_be_bytes).collect::<Vec<u8>>();
    let one = 1 << 16;
    let plain = matrix([one, 0, 0, 0, one, 0, 0, 0, 1 << 30]);
    let header = bytes.windows(4).position(|w| w == b"tkhd").unwrap();
    let place = header + bytes[header..].windows(36).position(|w| w == plain).unwrap();
    bytes[place..place + 36].copy_from_slice(&matrix([0, one, 0, -one, 0, 0, 64 * one, 0, 1 << 30]));
    std::fs::write(&path, bytes).unwrap();
    let frames = all(&path, Options::default());
    assert_eq!(frames.len(), 3);
    assert_eq!(frames[0].size(), (64, 96));
    // Turned clockwise, what was left is on top.
    let (top, bottom) = (at(&frames[0], 0.5, 0.15), at(&frames[0], 0.5, 0.85));
    assert!(is_near(top, [200, 30, 30], 12) && is_near(bottom, [30, 30, 200], 12), "{top:?} {bottom:?}");
}

#[test]
fn a_frame_looks_as_it_was_drawn() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("v.mp4");
    write_video(&path, pictures(2, 96, 64), Writing::default());
    let frame = all(&path, Options::default()).remove(0);
    let (left, right) = (at(&frame, 0.15, 0.5), at(&frame, 0.85, 0.5));
    assert!(is_near(left, [200, 30, 30], 6) && is_near(right, [30, 30, 200], 6), "{left:?} {right:?}");
}

/// Mean absolute difference of two frames.
fn difference(a: &Frame, b: &Frame) -> f64 {
    let (a, b) = (a.picture().unwrap(), b.picture().unwrap());
    let sum: u64 = a.data.iter().zip(&b.data).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    sum as f64 / a.data.len() as f64
}

#[test]
fn a_worse_encode_shows_and_keeps_every_frame() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("v.mp4");
    // Noise under the gradient, which cheap encoding loses first.
    let noisy = |n: usize| {
        RgbImage::from_fn(96, 64, |x, y| {
            let noise = deepfake_trainer::seeded::mixed(1, "noise", &[n as u64, x.into(), y.into()]) % 32;
            Rgb([40 + 3 * n as u8 + noise as u8; 3])
        })
    };
    write_video(&path, (0..30).map(noisy), Writing::default());
    let plain = all(&path, Options::default());
    let mut last = 0.0;
    for crf in [10, 30, 40] {
        let coded = all(&path, Options { crf: Some(crf) });
        assert_eq!(coded.len(), 30, "{crf}");
        let mean = plain.iter().zip(&coded).map(|(a, b)| difference(a, b)).sum::<f64>() / 30.0;
        assert!(mean > last && mean < 20.0, "{crf}: {mean} after {last}");
        last = mean;
        for (a, b) in plain.iter().zip(&coded) {
            assert_eq!((a.index, a.pts), (b.index, b.pts));
        }
        // Twice the same.
        let again = all(&path, Options { crf: Some(crf) });
        assert!(coded.iter().zip(&again).all(|(a, b)| difference(a, b) == 0.0), "{crf}");
    }
    let error = Video::open(&path, Options { crf: Some(52) }).unwrap_err().to_string();
    assert!(error.contains("0 to 51"), "{error}");
}

#[test]
fn an_odd_size_is_encoded_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("v.mkv");
    write_video(&path, pictures(4, 97, 63), Writing { encoder: "jpegenc", muxer: "matroskamux" });
    assert_eq!(all(&path, Options::default())[3].size(), (97, 63));
    let coded = all(&path, Options { crf: Some(20) });
    assert_eq!((coded.len(), coded[3].size()), (4, (98, 64)));
    assert_eq!(number(&coded[3]), 3);
}

#[test]
fn what_is_no_video_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let sound = folder.path().join("sound.wav");
    let text = "audiotestsrc num-buffers=10 ! wavenc ! filesink name=file";
    gst::init().unwrap();
    {
        use gst::prelude::*;
        let pipeline = gst::parse::launch(text).unwrap().downcast::<gst::Pipeline>().unwrap();
        pipeline.by_name("file").unwrap().set_property("location", &sound);
        pipeline.set_state(gst::State::Playing).unwrap();
        pipeline.bus().unwrap().timed_pop_filtered(gst::ClockTime::NONE, &[gst::MessageType::Eos]);
        pipeline.set_state(gst::State::Null).unwrap();
    }
    let whole = folder.path().join("v.mp4");
    write_video(&whole, pictures(20, 64, 48), Writing::default());
    let bytes = std::fs::read(&whole).unwrap();
    for path in [
        file("empty.mp4", b""),
        file("text.mp4", &b"no video at all, only words. ".repeat(100)),
        file("cut.mp4", &bytes[..bytes.len() / 3]),
        sound,
    ] {
        let result = spread(&path, 4, Options::default()).and_then(|f| f.collect::<Result<Vec<_>, _>>());
        let error = result.unwrap_err().to_string();
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(error.contains(name) && error.contains("no video"), "{name}: {error}");
    }
    let error = Video::open(&folder.path().join("none.mp4"), Options::default()).unwrap_err().to_string();
    assert!(error.contains("No such file"), "{error}");
}

#[test]
fn a_video_may_be_left_early() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("v.mp4");
    write_video(&path, pictures(40, 64, 48), Writing::default());
    for taken in [0, 1, 7] {
        assert_eq!(Video::open(&path, Options::default()).unwrap().take(taken).count(), taken);
    }
}

proptest! {
    #[test]
    fn places_are_evenly_spread(total in 0u64..5000, count in 0usize..200) {
        let places = deepfake_trainer::video::places(total, count);
        prop_assert_eq!(places.len() as u64, total.min(count as u64));
        prop_assert!(places.iter().all(|p| *p < total));
        let steps: Vec<u64> = places.windows(2).map(|w| w[1] - w[0]).collect();
        if let (Some(least), Some(most)) = (steps.iter().min(), steps.iter().max()) {
            prop_assert!(*least >= 1 && most - least <= 1);
        }
        if let (Some(first), Some(last)) = (places.first(), places.last()) {
            prop_assert!((total - 1 - last).abs_diff(*first) <= 1);
        }
    }
}
