//! What reaches the end of real pipelines: scores and maps, boxes that are right or absent, and GStreamer's own regions.
//!
//! The tables in `docs/metadata.md` are what this test found. Where it finds something else it fails; `WRITE_DOCS=1` makes
//! it write the table of the running GStreamer instead.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex};

use deepfake_scoring::geometry::Rect;
use gst::prelude::*;
use gst_video::prelude::*;
use gst_video::{VideoFrameRef, VideoInfo, VideoRegionOfInterestMeta};
use gstdeepfake::meta::Scores;

mod common;

const SIZE: (u32, u32) = (320, 240);
const FRAMES: u64 = 8;
const FRAME: gst::ClockTime = gst::ClockTime::from_mseconds(40);
/// How far an edge may be from where it is seen, in pixels: scalers and codecs blur it.
const BLUR: f32 = 2.0;

/// What a chain of elements must not lose.
#[derive(Clone, Copy, PartialEq)]
enum Keeps {
    /// Scores, maps and boxes.
    All,
    /// Scores and maps; a box may be absent.
    Scores,
    /// Nothing; but what is there must be right.
    Nothing,
}

const CHAINS: [(&str, Keeps); 22] = [
    ("queue", Keeps::All),
    ("tee name=t t. ! queue ! fakesink t. ! queue", Keeps::All),
    ("videorate ! video/x-raw,framerate=50/1", Keeps::All),
    ("videorate ! video/x-raw,framerate=25/2", Keeps::All),
    ("videoconvert ! video/x-raw,format=RGB", Keeps::All),
    ("videobalance saturation=0.5", Keeps::Scores),
    ("videoscale ! video/x-raw,width=160,height=120", Keeps::All),
    ("videoscale ! video/x-raw,width=400,height=240", Keeps::All),
    ("videoscale add-borders=true ! video/x-raw,width=400,height=240,pixel-aspect-ratio=1/1", Keeps::Scores),
    ("videoscale add-borders=false ! video/x-raw,width=400,height=240,pixel-aspect-ratio=1/1", Keeps::Scores),
    ("videocrop left=16 top=8", Keeps::Scores),
    ("aspectratiocrop aspect-ratio=5/4", Keeps::Scores),
    ("videoflip video-direction=identity", Keeps::Scores),
    ("videoflip video-direction=horiz", Keeps::Scores),
    ("videoflip video-direction=90r", Keeps::Scores),
    ("x264enc tune=zerolatency ! avdec_h264", Keeps::All),
    ("x264enc bframes=2 ! h264parse ! avdec_h264", Keeps::All),
    ("jpegenc ! jpegdec", Keeps::All),
    ("vp8enc deadline=1 ! vp8dec", Keeps::All),
    ("jpegenc ! rtpjpegpay ! rtpjpegdepay ! jpegdec", Keeps::Nothing),
    ("x264enc ! matroskamux ! matroskademux ! avdec_h264", Keeps::Nothing),
    ("compositor", Keeps::Nothing),
];

/// Where the white rectangle of a frame is. It moves, so that the box of another frame would be seen.
fn painted(frame: u64) -> Rect {
    Rect::new(32.0 + 12.0 * frame as f32, 56.0, 96.0, 72.0)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Right,
    Wrong,
    Absent,
}

impl Place {
    fn of(told: Option<Rect>, seen: &Rect) -> Self {
        let near = |r: &Rect| {
            let edges = |r: &Rect| [r.x, r.y, r.right(), r.bottom()];
            edges(r).iter().zip(edges(seen)).all(|(a, b)| (a - b).abs() <= BLUR)
        };
        match told {
            None => Self::Absent,
            Some(r) if near(&r) => Self::Right,
            Some(_) => Self::Wrong,
        }
    }
}

/// What is found at the end of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Found {
    scores: bool,
    /// Ours.
    bbox: Place,
    /// Of the region of interest.
    roi: Place,
    /// The parameter with the classification is on the region.
    param: bool,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = |place| match place {
            Place::Right => "right",
            Place::Wrong => "**wrong**",
            Place::Absent => "absent",
        };
        let arrive = |there| if there { "arrive" } else { "lost" };
        let (bbox, roi) = (place(self.bbox), place(self.roi));
        write!(f, "{} | {bbox} | {roi} | {}", arrive(self.scores), arrive(self.param))
    }
}

/// Paints the rectangle and says that it is a face.
fn paint(buffer: &mut gst::BufferRef, info: &VideoInfo, frame: u64) {
    let Rect { x, y, w, h } = painted(frame);
    {
        let mut view = VideoFrameRef::from_buffer_ref_writable(&mut *buffer, info).unwrap();
        let stride = view.plane_stride()[0] as usize;
        for row in view.plane_data_mut(0).unwrap().chunks_mut(stride).skip(y as usize).take(h as usize) {
            row[x as usize..][..w as usize].fill(235);
        }
    }
    VideoRegionOfInterestMeta::add(buffer, "face", (x as u32, y as u32, w as u32, h as u32));
}

/// Where the rectangle is now.
fn seen(buffer: &gst::BufferRef, info: &VideoInfo) -> Rect {
    let view = VideoFrameRef::from_buffer_ref_readable(buffer, info).unwrap();
    let (width, height) = (info.width() as usize, info.height() as usize);
    let (stride, step) = (view.comp_stride(0) as usize, view.comp_pstride(0) as usize);
    let data = view.comp_data(0).unwrap();
    let white = |x: usize, y: usize| data[y * stride + x * step] > 128;
    let columns: Vec<_> = (0..width).filter(|&x| (0..height).any(|y| white(x, y))).collect();
    let rows: Vec<_> = (0..height).filter(|&y| (0..width).any(|x| white(x, y))).collect();
    assert!(!columns.is_empty(), "the rectangle is not in the frame");
    let (x, y) = (columns[0] as f32, rows[0] as f32);
    Rect::from_corners(x, y, columns[columns.len() - 1] as f32 + 1.0, rows[rows.len() - 1] as f32 + 1.0)
}

/// The buffers, with their caps, that pass a pad.
fn collect(pad: &gst::Pad) -> Arc<Mutex<Vec<(gst::Buffer, gst::Caps)>>> {
    let found = Arc::new(Mutex::new(vec![]));
    let sink = found.clone();
    pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
        sink.lock().unwrap().push((info.buffer().unwrap().clone(), pad.current_caps().unwrap()));
        gst::PadProbeReturn::Ok
    });
    found
}

fn without_places(mut scores: Scores) -> Scores {
    for face in &mut scores.faces {
        face.bbox = None;
        if let Some(map) = face.outcome.as_mut().ok().and_then(|score| score.map.as_mut()) {
            map.region = None;
        }
    }
    scores
}

/// Scores a few frames, sends them through the chain, and looks at what comes out.
fn run(chain: &str, model: &Path) -> Found {
    let (width, height) = SIZE;
    let pipeline = gst::parse::launch(&format!(
        "videotestsrc name=source pattern=black num-buffers={FRAMES} \
         ! video/x-raw,format=I420,width={width},height={height},framerate=25/1,pixel-aspect-ratio=1/1 \
         ! deepfakescore name=score face-source=upstream model={} ! {chain} ! fakesink name=end",
        model.display()
    ));
    let pipeline = pipeline.unwrap_or_else(|e| panic!("{chain}: {e}")).downcast::<gst::Pipeline>().unwrap();
    let pad = |element: &str, pad: &str| pipeline.by_name(element).unwrap().static_pad(pad).unwrap();
    let info = VideoInfo::builder(gst_video::VideoFormat::I420, width, height).build().unwrap();
    pad("source", "src").add_probe(gst::PadProbeType::BUFFER, move |_, probe| {
        let buffer = probe.buffer_mut().unwrap().make_mut();
        let frame = buffer.pts().unwrap() / FRAME;
        paint(buffer, &info, frame);
        gst::PadProbeReturn::Ok
    });
    let (scored, arrived) = (collect(&pad("score", "src")), collect(&pad("end", "sink")));
    pipeline.set_state(gst::State::Playing).unwrap();
    let types = [gst::MessageType::Eos, gst::MessageType::Error];
    let end = pipeline.bus().unwrap().timed_pop_filtered(gst::ClockTime::from_seconds(60), &types);
    assert!(matches!(end.as_ref().map(|m| m.view()), Some(gst::MessageView::Eos(_))), "{chain}: {end:?}");
    pipeline.set_state(gst::State::Null).unwrap();

    let sent: Vec<_> = scored.lock().unwrap().iter().map(|(b, _)| Scores::from_buffer(b).unwrap()).collect();
    assert_eq!(sent.len() as u64, FRAMES, "{chain}");
    let arrived = arrived.lock().unwrap();
    assert!(arrived.len() as u64 >= FRAMES / 2, "{chain}: {} frames", arrived.len());
    let found: Vec<_> = arrived.iter().map(|(buffer, caps)| look(chain, buffer, caps, &sent)).collect();
    assert!(found.iter().all(|f| *f == found[0]), "{chain}: {found:?}");
    if found[0].scores && !chain.starts_with("videorate") {
        // Each frame has its own scores, whether there is a box to see it by or not.
        let start = arrived[0].0.pts().unwrap();
        for (buffer, _) in arrived.iter() {
            assert_eq!(Scores::from_buffer(buffer).unwrap().frame, (buffer.pts().unwrap() - start) / FRAME, "{chain}");
        }
    }
    found[0]
}

/// What one frame at the end of the chain carries.
fn look(chain: &str, buffer: &gst::BufferRef, caps: &gst::CapsRef, sent: &[Scores]) -> Found {
    let info = VideoInfo::from_caps(caps).unwrap();
    let seen = seen(buffer, &info);
    let scores = Scores::from_buffer(buffer);
    let face = scores.as_ref().map(|scores| {
        let was = sent[scores.frame as usize].clone();
        assert_eq!(without_places(scores.clone()), without_places(was.clone()), "{chain}");
        let (face, was) = (&scores.faces[0], &was.faces[0]);
        let map = |face: &gstdeepfake::meta::Face| face.outcome.as_ref().unwrap().map.clone().unwrap();
        // The crop of this model is the box, so the map must lie where the box is, or nowhere.
        let (region, box_now) = (map(face).region, face.bbox);
        assert!(map(was).region.unwrap().iou(&was.bbox.unwrap()) > 0.5, "{chain}");
        assert!(region.is_none() || region.unwrap().iou(&box_now.unwrap()) > 0.5, "{chain}: {region:?} {box_now:?}");
        face.pixels(info.width(), info.height())
    });
    let roi = buffer.iter_meta::<VideoRegionOfInterestMeta>().find(|roi| roi.roi_type() == "face");
    let rect = roi.as_ref().map(|roi| roi.rect());
    let rect = rect.map(|(x, y, w, h)| Rect::new(x as f32, y as f32, w as f32, h as f32));
    Found {
        scores: scores.is_some(),
        bbox: Place::of(face.flatten(), &seen),
        roi: Place::of(rect, &seen),
        param: roi.is_some_and(|roi| roi.param("deepfake").is_some()),
    }
}

/// Where in the text the table under a heading is; `None` without the heading.
fn table_of(text: &str, heading: &str) -> Option<std::ops::Range<usize>> {
    let start = text.find(&format!("{heading}\n\n"))? + heading.len() + 2;
    let length =
        text[start..].split_inclusive('\n').take_while(|line| line.starts_with('|')).map(str::len).sum::<usize>();
    Some(start..start + length)
}

#[test]
fn scores_arrive_and_boxes_are_right_or_absent() {
    common::init();
    let folder = tempfile::tempdir().unwrap();
    let model = common::brightness_model(folder.path());
    let mut table =
        "| after | scores and map | box | ROI box | ROI parameter `deepfake` |\n|---|---|---|---|---|\n".to_owned();
    for (chain, keeps) in CHAINS {
        let found = run(chain, &model);
        assert_ne!(found.bbox, Place::Wrong, "{chain}");
        assert!(found.scores || keeps == Keeps::Nothing, "{chain}: {found}");
        assert!(found.bbox == Place::Right || keeps != Keeps::All, "{chain}: {found}");
        table += &format!("| `{chain}` | {found} |\n");
    }

    let (major, minor, ..) = gst::version();
    let heading = format!("### GStreamer {major}.{minor}");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metadata.md");
    let mut text = std::fs::read_to_string(&path).unwrap();
    let there = table_of(&text, &heading);
    if std::env::var_os("WRITE_DOCS").is_some() {
        match there {
            Some(range) => text.replace_range(range, &table),
            None => text += &format!("\n{heading}\n\n{table}"),
        }
        std::fs::write(&path, text).unwrap();
        return;
    }
    let again = "WRITE_DOCS=1 cargo test -p gst-plugin-deepfake --test survival";
    match there {
        Some(range) => {
            assert_eq!(text[range], table, "docs/metadata.md says otherwise; `{again}` writes what was found")
        }
        // Debian 12's must be there.
        None if (major, minor) == (1, 22) => panic!("no table in docs/metadata.md; `{again}` writes it"),
        None => eprintln!("docs/metadata.md has no table for GStreamer {major}.{minor}; `{again}` would write it"),
    }
}
