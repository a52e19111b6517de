//! Frames that are not as one expects: caps that change in the middle, memory laid out in odd ways, buffers that others hold too.
//! Each through `deepfakescore`, and where something is drawn through `deepfakeoverlay` too.

use deepfake_scoring::frame::PixelFormat;
use deepfake_scoring::geometry::Rect;
use deepfake_scoring::verdict::Verdict;
use gst::prelude::*;
use gst_check::Harness;
use gst_video::{VideoFormat, VideoFrameFlags, VideoInfo, VideoMeta};
use gstdeepfake::meta::Scores;

mod common;
mod play;
mod results;

use common::{brightness_model, scorer};
use play::{play, play_with};

const SIZE: (u32, u32) = (50, 34);

/// What is left on it holds the element that holds it: it is emptied in the end.
struct Bus(gst::Bus);

impl std::ops::Deref for Bus {
    type Target = gst::Bus;

    fn deref(&self) -> &gst::Bus {
        &self.0
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        self.0.set_flushing(true);
    }
}

fn harness(properties: &[(&str, &str)], info: &VideoInfo) -> (Harness, Bus, tempfile::TempDir) {
    let properties =
        [&[("mode", "every-frame"), ("face-source", "frame"), ("min-face-size", "1")], properties].concat();
    let (element, folder) = scorer(brightness_model, &properties);
    let bus = gst::Bus::new();
    element.set_bus(Some(&bus));
    let mut harness = Harness::with_element(&element, Some("sink"), Some("src"));
    harness.set_src_caps(info.to_caps().unwrap());
    (harness, Bus(bus), folder)
}

fn logit(buffer: &gst::BufferRef) -> f64 {
    Scores::from_buffer(buffer).unwrap().faces[0].outcome.as_ref().unwrap().logit
}

fn info(format: VideoFormat) -> VideoInfo {
    common::init();
    VideoInfo::builder(format, SIZE.0, SIZE.1).fps((25, 1)).build().unwrap()
}

/// How many errors and warnings were posted.
fn told(bus: &gst::Bus) -> (usize, usize) {
    let all: Vec<_> = bus.iter().map(|m| m.type_()).collect();
    let count = |kind| all.iter().filter(|k| **k == kind).count();
    (count(gst::MessageType::Error), count(gst::MessageType::Warning))
}

/// Plays white whose caps change every three frames.
fn changing(mode: &str) {
    // Where the range is full 235 is not white; the source writes it all the same. Gray is full where nothing is said.
    const GRAY: &str = "format=GRAY8,width=1,height=1,framerate=25/1";
    const FULL: &str = "format=NV12,width=64,height=48,framerate=25/1,colorimetry=1:4:0:0";
    let caps = [
        "format=I420,width=64,height=48,framerate=25/1",
        "format=I420,width=65,height=31,framerate=25/1",
        "format=NV12,width=65,height=31,framerate=25/1",
        "format=NV12,width=65,height=31,framerate=30000/1001",
        "format=NV12,width=65,height=31,framerate=0/1",
        "format=NV12,width=64,height=48,framerate=25/1,colorimetry=bt709",
        FULL,
        "format=NV12,width=64,height=48,framerate=25/1,interlace-mode=interleaved,field-order=top-field-first",
        "format=NV12,width=64,height=48,framerate=25/1,interlace-mode=mixed",
        "format=v210,width=64,height=48,framerate=25/1",
        GRAY,
        "format=RGBA,width=1920,height=1080,framerate=50/1",
        "format=I420,width=64,height=48,framerate=25/1",
    ];
    let source = |caps: &str| format!("videotestsrc num-buffers=3 pattern=white ! video/x-raw,{caps} ! c. ");
    let sources: String = caps.map(source).concat();
    let folder = tempfile::tempdir().unwrap();
    let model = brightness_model(folder.path());
    let text = format!(
        "concat name=c ! deepfakescore name=s mode={mode} face-source=frame min-face-size=1 model={} \
         ! deepfakeoverlay ! deepfakejson name=j ! fakesink name=out sync=false j.json ! fakesink sync=false {sources}",
        model.display()
    );
    let played = play(&text);
    assert_eq!(played.errors, []);
    assert!(played.eos);
    assert_eq!(played.frames.len(), 3 * caps.len(), "{mode}");
    if mode == "every-frame" {
        for (n, (scores, logit)) in played.scores().iter().zip(played.logits()).enumerate() {
            assert_eq!(scores.frame, n as u64);
            let caps = caps[n / 3];
            let expected = if [FULL, GRAY].contains(&caps) { 235.0 / 255.0 * 8.0 - 4.0 } else { 4.0 };
            assert!((logit - expected).abs() < 0.05, "frame {n} of {caps}: {logit}");
        }
    }
}

#[test]
fn caps_may_change_in_every_way_in_the_middle() {
    changing("every-frame");
    // The worker may still read a frame of the caps before.
    changing("live");
}

#[test]
fn caps_that_cannot_be_read_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let model = brightness_model(folder.path());
    // Fields one after the other, from somebody who does not ask first.
    let played = play_with(
        &format!(
            "appsrc name=a format=time caps=video/x-raw,format=NV12,width=64,height=48,framerate=25/1,interlace-mode=fields \
             ! deepfakescore mode=every-frame face-source=frame model={} ! fakesink name=out",
            model.display()
        ),
        |pipeline| {
            let source = pipeline.by_name("a").unwrap().downcast::<gst_app::AppSrc>().unwrap();
            source.push_buffer(gst::Buffer::with_size(64 * 48 * 3 / 2).unwrap()).unwrap();
        },
    );
    assert_eq!((played.frames.len(), played.errors.len()), (0, 1), "{played:?}");
    // Memory that no processor reads: there is nothing to link to.
    for caps in ["video/x-raw(memory:DMABuf),format=NV12", "video/x-raw(memory:GLMemory),format=RGBA", "video/x-bayer"]
    {
        let text = format!("appsrc caps={caps},width=64,height=48 ! {caps} ! deepfakescore ! fakesink");
        assert!(gst::parse::launch(&text).is_err(), "{caps}");
    }
}

/// The planes of a tight frame laid out anew: each with `padding` more bytes to a row, the planes in reverse order, `before` bytes
/// in front, and nothing behind the last sample of each plane's last row.
fn odd(info: &VideoInfo, tight: &[u8], before: usize, padding: usize) -> gst::Buffer {
    let format = PixelFormat::from_name(info.format().to_str()).unwrap();
    let (width, height) = (info.width() as usize, info.height() as usize);
    let planes = info.n_planes() as usize;
    let (mut offsets, mut strides) = (vec![0; planes], vec![0; planes]);
    let mut bytes = vec![0xa5; before];
    for plane in (0..planes).rev() {
        let (rows, row, stride) =
            (format.rows(plane, height), format.row_bytes(plane, width), info.stride()[plane] as usize);
        offsets[plane] = bytes.len();
        strides[plane] = (stride + padding) as i32;
        for y in 0..rows {
            bytes.extend_from_slice(&tight[info.offset()[plane] + y * stride..][..row]);
            if y + 1 < rows {
                bytes.resize(offsets[plane] + (y + 1) * (stride + padding), 0xa5);
            }
        }
    }
    let mut buffer = gst::Buffer::from_mut_slice(bytes);
    let header = buffer.get_mut().unwrap();
    let (width, height) = SIZE;
    VideoMeta::add_full(header, VideoFrameFlags::empty(), info.format(), width, height, &offsets, &strides).unwrap();
    buffer
}

#[test]
fn odd_strides_offsets_and_short_last_rows_are_the_same_picture() {
    for format in PixelFormat::ALL {
        let info = info(VideoFormat::from_string(format.name()));
        // Not the same everywhere, so that a row read from another place is seen.
        let tight: Vec<u8> = (0..info.size()).map(|i| (i * 7 % 251) as u8).collect();
        let (mut harness, _bus, _folder) = harness(&[], &info);
        let expected = logit(&harness.push_and_pull(gst::Buffer::from_slice(tight.clone())).unwrap());
        for (before, padding) in [(0, 0), (16, 16), (3, 5), (1, 4096)] {
            let out = harness.push_and_pull(odd(&info, &tight, before, padding)).unwrap();
            let found = logit(&out);
            assert_eq!(found, expected, "{} {before} {padding}", format.name());
        }
    }
}

#[test]
fn a_frame_in_several_memories_is_one() {
    let info = info(VideoFormat::I420);
    let tight: Vec<u8> = (0..info.size()).map(|i| (i * 7 % 251) as u8).collect();
    let (mut harness, _bus, _folder) = harness(&[], &info);
    let expected = logit(&harness.push_and_pull(gst::Buffer::from_slice(tight.clone())).unwrap());
    // One a plane, as decoders of hardware have it, and pieces that end anywhere.
    for cuts in [[info.offset()[1], info.offset()[2]], [7, 1000]] {
        let mut buffer = gst::Buffer::new();
        for piece in [&tight[..cuts[0]], &tight[cuts[0]..cuts[1]], &tight[cuts[1]..]] {
            buffer.get_mut().unwrap().append_memory(gst::Memory::from_slice(piece.to_vec()));
        }
        assert_eq!(logit(&harness.push_and_pull(buffer).unwrap()), expected, "{cuts:?}");
    }
}

/// Buffers whose video meta tells of memory that is not there.
fn lies(info: &VideoInfo) -> Vec<(&'static str, gst::Buffer)> {
    let (width, height) = SIZE;
    let plain = |offsets: [usize; 3], strides: [i32; 3], size: usize, (w, h): (u32, u32)| {
        let mut buffer = gst::Buffer::from_mut_slice(vec![128u8; size]);
        let header = buffer.get_mut().unwrap();
        VideoMeta::add_full(header, VideoFrameFlags::empty(), info.format(), w, h, &offsets, &strides).unwrap();
        buffer
    };
    let offsets = [info.offset()[0], info.offset()[1], info.offset()[2]];
    let strides = [info.stride()[0], info.stride()[1], info.stride()[2]];
    let size = (width, height);
    vec![
        ("rows that are longer than the memory", plain(offsets, [1 << 20; 3], info.size(), size)),
        ("rows from bottom to top", plain(offsets, strides.map(|s| -s), info.size(), size)),
        ("rows of nothing", plain(offsets, [0; 3], info.size(), size)),
        ("a plane behind the end", plain([0, 0, 1 << 30], strides, info.size(), size)),
        ("a frame far larger than the memory", plain(offsets, strides, info.size(), (1 << 14, 1 << 14))),
        ("half of the memory", plain([0; 3], strides, info.size() / 2, size)),
        ("nothing of the memory", plain([0; 3], strides, 1, size)),
        ("no meta, half of the memory", gst::Buffer::from_mut_slice(vec![128u8; info.size() / 2])),
    ]
}

#[test]
fn a_frame_that_is_not_there_is_an_error_or_passes_unscored_as_asked() {
    let info = info(VideoFormat::I420);
    for (what, buffer) in lies(&info) {
        let (mut harness, bus, _folder) = harness(&[], &info);
        assert_eq!(harness.push(buffer), Err(gst::FlowError::Error), "{what}");
        assert_eq!(told(&bus), (1, 0), "{what}");
    }
    for mode in ["every-frame", "live"] {
        let (mut harness, bus, _folder) = harness(&[("on-error", "passthrough"), ("mode", mode)], &info);
        for (what, buffer) in lies(&info) {
            let out = harness.push_and_pull(buffer).unwrap();
            assert_eq!(Scores::from_buffer(&out), None, "{what}");
        }
        assert_eq!(told(&bus), (0, 1), "once, not for each frame");
        // And the stream goes on.
        let mut scored = None;
        while scored.is_none() {
            let out = harness.push_and_pull(gst::Buffer::from_mut_slice(vec![128u8; info.size()])).unwrap();
            scored = Scores::from_buffer(&out);
        }
    }
}

#[test]
fn nothing_is_drawn_beyond_the_memory_of_a_frame() {
    const GUARD: usize = 1 << 20;
    let info = info(VideoFormat::I420);
    let mut harness = Harness::new("deepfakeoverlay");
    harness.set_src_caps(info.to_caps().unwrap());
    let all = results::face(1, Rect::new(0.0, 0.0, 1.0, 1.0), Verdict::Fake, 0.9);
    for (what, lie) in lies(&info) {
        // The same bytes with more behind them, which belong to somebody else.
        let size = lie.size();
        let mut buffer = gst::Buffer::from_mut_slice(vec![128u8; size + GUARD]);
        let header = buffer.get_mut().unwrap();
        header.set_size(size);
        if let Some(meta) = lie.meta::<VideoMeta>() {
            let (w, h) = (meta.width(), meta.height());
            VideoMeta::add_full(header, VideoFrameFlags::empty(), info.format(), w, h, meta.offset(), meta.stride())
                .unwrap();
        }
        results::scores(0, vec![all.clone()]).attach(header).unwrap();
        // Drawn on as far as it is there, or refused.
        if harness.push(buffer).is_err() {
            continue;
        }
        let mut out = harness.pull().unwrap();
        out.make_mut().set_size(size + GUARD);
        let map = out.map_readable().unwrap();
        assert!(map[size..].iter().all(|v| *v == 128), "{what}: written beyond the end");
    }
}

#[test]
fn a_frame_that_is_to_be_cropped_keeps_its_scores_and_has_no_boxes() {
    // 16 pixels are to be cut away at each side: the meta of the video is of the whole, the caps are of the rest.
    let whole = VideoInfo::builder(VideoFormat::I420, SIZE.0 + 32, SIZE.1).build();
    let (mut harness, _bus, _folder) = harness(&[], &info(VideoFormat::I420));
    let whole = whole.unwrap();
    let mut buffer = gst::Buffer::from_mut_slice(vec![128u8; whole.size()]);
    let header = buffer.get_mut().unwrap();
    VideoMeta::add(header, VideoFrameFlags::empty(), VideoFormat::I420, whole.width(), whole.height()).unwrap();
    gst_video::VideoCropMeta::add(header, (16, 0, SIZE.0, SIZE.1));
    let out = harness.push_and_pull(buffer).unwrap();
    let scores = Scores::from_buffer(&out).unwrap();
    assert!(scores.faces[0].outcome.is_ok());
    assert_eq!(scores.faces[0].bbox, None);
}

#[test]
fn what_others_hold_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let model = brightness_model(folder.path());
    for mode in ["every-frame", "live"] {
        let text = format!(
            "videotestsrc num-buffers=10 ! video/x-raw,format=NV12,width=64,height=48 ! tee name=t \
             t. ! queue ! deepfakescore mode={mode} face-source=frame model={} ! deepfakeoverlay ! fakesink name=out sync=false \
             t. ! queue ! fakesink name=other sync=false signal-handoffs=true",
            model.display()
        );
        let (tell, other) = std::sync::mpsc::channel();
        let played = play_with(&text, |pipeline| {
            let pad = |name: &str, pad: &str| pipeline.by_name(name).unwrap().static_pad(pad).unwrap();
            let digest = |buffer: &gst::BufferRef| {
                buffer.map_readable().unwrap().iter().fold(0u64, |a, v| a * 31 % 1_000_003 + u64::from(*v))
            };
            for (name, side) in [("t", "sink"), ("other", "sink")] {
                let tell = tell.clone();
                pad(name, side).add_probe(gst::PadProbeType::BUFFER, move |_, info| {
                    let buffer = info.buffer().unwrap();
                    tell.send((name, buffer.pts(), digest(buffer), Scores::from_buffer(buffer).is_some())).unwrap();
                    gst::PadProbeReturn::Ok
                });
            }
        });
        assert_eq!((played.frames.len(), &played.errors[..]), (10, &[][..]), "{mode}");
        let seen: Vec<_> = other.try_iter().collect();
        let of = |wanted| {
            seen.iter()
                .filter(move |(name, ..)| *name == wanted)
                .map(|(_, pts, digest, scored)| (*pts, *digest, *scored))
        };
        assert!(of("t").eq(of("other")), "{mode}: {seen:?}");
        assert!(of("other").all(|(_, _, scored)| !scored));
    }
}

#[test]
fn memory_that_may_only_be_read_is_read() {
    let info = info(VideoFormat::Rgb);
    let (mut harness, _bus, _folder) = harness(&[], &info);
    static WHITE: [u8; 1 << 13] = [255; 1 << 13];
    let buffer = gst::Buffer::from_slice(&WHITE[..info.size()]);
    assert!(buffer.peek_memory(0).flags().contains(gst::MemoryFlags::READONLY));
    let memory = buffer.peek_memory(0).as_ptr();
    let out = harness.push_and_pull(buffer).unwrap();
    assert!((logit(&out) - 4.0).abs() < 1e-3);
    assert_eq!(out.peek_memory(0).as_ptr(), memory, "and not copied");
}
