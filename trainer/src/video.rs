//! Video files, decoded to upright frames.
//!
//! ```text
//! uridecodebin -> [videoflip] -> videoconvert -> [x264enc -> h264parse -> avdec_h264] -> appsink
//! ```
//!
//! Frames are handed out as they were decoded: planes, with what their numbers mean. The engine's cropper reads them as it does in
//! the element, and what nobody looks at costs no conversion. [`Frame::picture`] makes R'G'B' of one where a whole picture is needed.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use deepfake_frames::{FrameFormat, Standstill, link_upright_once_known};
use deepfake_scoring::crop::Cropper;
use deepfake_scoring::frame::FrameView;
use deepfake_scoring::geometry::Rect;
use gst::glib;
use gst::prelude::*;

use crate::data::Picture;
use crate::error::{Error, Result};

/// How long a decoder may think about one frame before it counts as stuck.
const PATIENCE: Duration = Duration::from_secs(300);

/// How long the next frame may take where frames are only counted; then they are counted by decoding.
const COUNTING: Duration = Duration::from_secs(30);

/// How often messages are looked at while no frame comes.
const TICK: gst::ClockTime = gst::ClockTime::from_mseconds(50);

/// Decoded frames that wait to be taken. With this the memory a video takes is bounded.
const WAITING: u32 = 2;

/// Application message: the file has been looked through, and it holds no video.
const NO_VIDEO: &str = "no-video";

/// The extensions of files that are taken for videos, in lower case.
pub const EXTENSIONS: [&str; 10] = ["mp4", "avi", "mkv", "mov", "webm", "m4v", "mpg", "mpeg", "ts", "wmv"];

/// How a video is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Sends the decoded frames through H.264 of this constant quality (x264's CRF, 0 to 51, lower is better) and back, at 8 bits and
    /// halved colour; `None` leaves them as they are. An odd size becomes even by a black line at the right or at the bottom.
    pub crf: Option<u32>,
}

/// A decoded, upright frame.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Counted from 0, in the order in which frames are shown.
    pub index: u64,
    /// Place in the stream, where the file tells.
    pub pts: Option<Duration>,
    buffer: gst::Buffer,
    format: Arc<FrameFormat>,
}

impl Frame {
    /// Lends the planes to `read`. Nothing is copied.
    ///
    /// # Errors
    ///
    /// A buffer that cannot be mapped or is too small for its format.
    pub fn with_view<T>(&self, read: impl FnOnce(&FrameView<'_>) -> T) -> Result<T> {
        self.format.with_view(&self.buffer, read).map_err(|e| Error::Data(format!("frame {}: {e}", self.index)))
    }

    /// Width and height in pixels.
    pub fn size(&self) -> (usize, usize) {
        (self.format.info().width() as usize, self.format.info().height() as usize)
    }

    /// All of it in R'G'B', by the engine's cropper.
    ///
    /// # Errors
    ///
    /// As [`Frame::with_view`].
    pub fn picture(&self) -> Result<Picture> {
        self.with_view(|view| {
            let whole = Rect::new(0.0, 0.0, view.width() as f32, view.height() as f32);
            Picture::cut(&mut Cropper::default(), view, &whole, view.width(), view.height())
        })?
    }
}

/// What the threads of the pipeline leave behind.
#[derive(Debug, Default)]
struct Seen {
    video: AtomicBool,
    missing: Mutex<Vec<String>>,
}

/// A video that is being decoded: an iterator over its frames. It ends at the end of the video, or after the first error; a file of
/// which nothing can be shown is an error at the first frame.
#[derive(Debug)]
pub struct Video {
    path: PathBuf,
    pipeline: gst::Pipeline,
    bus: gst::Bus,
    sink: gst_app::AppSink,
    seen: Arc<Seen>,
    format: Option<(gst::Caps, Arc<FrameFormat>)>,
    index: u64,
    over: bool,
}

impl Video {
    /// Begins to decode a file.
    ///
    /// # Errors
    ///
    /// A file that is not there, an element of GStreamer that is missing, a quality out of range.
    pub fn open(path: &Path, options: Options) -> Result<Self> {
        let wrong = |problem: String| Error::Video { path: path.to_owned(), problem };
        if options.crf.is_some_and(|crf| crf > 51) {
            return Err(wrong("a constant quality must be from 0 to 51".into()));
        }
        // The decoder would say the same in many more words.
        std::fs::File::open(path).map_err(Error::io(path))?;
        gst::init().map_err(|e| wrong(format!("GStreamer does not start: {e}")))?;
        let absolute = std::path::absolute(path).map_err(Error::io(path))?;
        let uri = glib::filename_to_uri(&absolute, None).map_err(|e| wrong(e.to_string()))?;
        let seen = Arc::new(Seen::default());
        let built = build(&uri, options, &seen).map_err(|e| {
            wrong(format!(
                "GStreamer lacks what decodes videos ({e}); Debian's packages gstreamer1.0-libav and \
                 gstreamer1.0-plugins-{{base,good,bad,ugly}} hold it"
            ))
        })?;
        let (pipeline, sink) = built;
        let bus = pipeline.bus().ok_or_else(|| wrong("a pipeline without a bus".into()))?;
        let video = Self { path: path.to_owned(), pipeline, bus, sink, seen, format: None, index: 0, over: false };
        // Its error, if any, comes as a message that says more.
        let _ = video.pipeline.set_state(gst::State::Playing);
        Ok(video)
    }

    fn wrong(&self, problem: impl Into<String>) -> Error {
        Error::Video { path: self.path.clone(), problem: problem.into() }
    }

    fn pull(&mut self) -> Result<Option<Frame>> {
        let start = Instant::now();
        let mut standstill = Standstill::default();
        loop {
            if let Some(sample) = self.sink.try_pull_sample(TICK) {
                return self.frame(&sample).map(Some);
            }
            let end = self.sink.is_eos();
            while let Some(message) = self.bus.pop() {
                self.hear(&message)?;
            }
            if end {
                return if self.index == 0 { Err(self.no_video(None)) } else { Ok(None) };
            }
            if !self.seen.video.load(Ordering::Relaxed) && standstill.lasts(&self.pipeline) {
                return Err(self.no_video(None));
            }
            if start.elapsed() > PATIENCE {
                let problem = format!("no frame came for {} seconds after frame {}", PATIENCE.as_secs(), self.index);
                return Err(self.wrong(problem));
            }
        }
    }

    fn hear(&self, message: &gst::Message) -> Result<()> {
        match message.view() {
            gst::MessageView::Application(m) if m.structure().is_some_and(|s| s.name() == NO_VIDEO) => {
                Err(self.no_video(None))
            }
            gst::MessageView::Element(m) => {
                if let Some(what) = m.structure().filter(|s| s.name() == "missing-plugin") {
                    let name = what.get::<String>("name").unwrap_or_else(|_| "this kind of file".into());
                    self.seen.missing.lock().unwrap_or_else(PoisonError::into_inner).push(name);
                }
                Ok(())
            }
            gst::MessageView::Warning(w) => {
                tracing::debug!("{}: {}", self.path.display(), w.error());
                Ok(())
            }
            gst::MessageView::Error(e) if self.seen.video.load(Ordering::Relaxed) => {
                Err(self.wrong(e.error().to_string()))
            }
            gst::MessageView::Error(e) => {
                // A file of sound only is told as one that lacks a plugin, which it does not.
                let detail = Some(e.error()).filter(|e| !e.matches(gst::CoreError::MissingPlugin));
                Err(self.no_video(detail.map(|e| e.to_string())))
            }
            _ => Ok(()),
        }
    }

    fn no_video(&self, detail: Option<String>) -> Error {
        let missing = self.seen.missing.lock().unwrap_or_else(PoisonError::into_inner).join(", ");
        self.wrong(match detail {
            _ if !missing.is_empty() => format!("there is no decoder here for {missing}"),
            Some(detail) => format!("it holds no video that can be shown: {detail}"),
            None => "it holds no video that can be shown".into(),
        })
    }

    fn frame(&mut self, sample: &gst::Sample) -> Result<Frame> {
        let (Some(buffer), Some(caps)) = (sample.buffer_owned(), sample.caps_owned()) else {
            return Err(self.wrong("a frame without pixels or format"));
        };
        let format = match &self.format {
            Some((known, format)) if *known == caps => Arc::clone(format),
            _ => {
                let info = gst_video::VideoInfo::from_caps(&caps).map_err(|e| self.wrong(e.to_string()))?;
                let format = Arc::new(FrameFormat::new(&info).map_err(|e| self.wrong(e.to_string()))?);
                self.format = Some((caps, Arc::clone(&format)));
                format
            }
        };
        // Encoders shift time stamps and segment alike: the place in the stream stays.
        let time = sample.segment().and_then(|s| s.downcast_ref::<gst::ClockTime>()?.to_stream_time(buffer.pts()));
        let frame = Frame { index: self.index, pts: time.or(buffer.pts()).map(Duration::from), buffer, format };
        self.index += 1;
        Ok(frame)
    }
}

impl Iterator for Video {
    type Item = Result<Frame>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.over {
            return None;
        }
        let frame = self.pull().transpose();
        self.over = !matches!(frame, Some(Ok(_)));
        frame
    }
}

impl Drop for Video {
    fn drop(&mut self) {
        // It is not to be used again, whether it stops well or not.
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

/// Up to `count` frames, spread evenly over a video: each from the middle of an equal part of it. The file is read through once without
/// decoding, to count its frames, and decoded once; one frame is held at a time. Nothing is sought: what a seek hits differs from
/// file to file.
///
/// # Errors
///
/// As [`Video::open`]; the iterator's as [`Video`]'s.
pub fn spread(path: &Path, count: usize, options: Options) -> Result<impl Iterator<Item = Result<Frame>>> {
    let total = match frames_in(path)? {
        // What cannot be counted without decoding.
        0 => Video::open(path, Options::default())?.try_fold(0, |n, frame| frame.map(|_| n + 1))?,
        n => n,
    };
    let mut wanted = places(total, count).into_iter().peekable();
    let mut video = Video::open(path, options)?;
    Ok(std::iter::from_fn(move || {
        let place = wanted.next()?;
        video.by_ref().find(|frame| frame.as_ref().map_or(true, |f| f.index >= place))
    }))
}

/// The middles of `count` equal parts of `total` frames, or all frames where there are no more.
pub fn places(total: u64, count: usize) -> Vec<u64> {
    let count = (count as u64).min(total);
    (0..count).map(|i| (2 * i + 1) * total / (2 * count)).collect()
}

/// How many frames of video a file holds, counted as they are coded, not decoded. 0 where that cannot be told.
///
/// # Errors
///
/// As [`Video::open`].
pub fn frames_in(path: &Path) -> Result<u64> {
    let wrong = |problem: String| Error::Video { path: path.to_owned(), problem };
    std::fs::File::open(path).map_err(Error::io(path))?;
    gst::init().map_err(|e| wrong(format!("GStreamer does not start: {e}")))?;
    count(path).map_err(|e| wrong(e.to_string()))
}

fn count(path: &Path) -> Result<u64, glib::BoolError> {
    let pipeline = gst::Pipeline::new();
    let source = gst::ElementFactory::make("filesrc").property("location", path).build()?;
    let parse = gst::ElementFactory::make("parsebin").build()?;
    pipeline.add_many([&source, &parse])?;
    source.link(&parse)?;
    let counted = Arc::new(AtomicU64::new(0));
    let video = Arc::new(AtomicBool::new(false));
    // Told by ourselves: a pipeline whose sinks come and end while it still starts may never tell its own end.
    let end = |pipeline: &glib::WeakRef<gst::Pipeline>| {
        if let Some(pipeline) = pipeline.upgrade() {
            let message = gst::message::Application::new(gst::Structure::new_empty("counted"));
            // Only a pipeline that is being torn down takes no message.
            let _ = pipeline.post_message(message);
        }
    };
    let (weak, frames, found) = (pipeline.downgrade(), Arc::clone(&counted), Arc::clone(&video));
    parse.connect_pad_added(move |_, pad| {
        let Some(pipeline) = weak.upgrade() else { return };
        let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
        let is_video = caps.structure(0).is_some_and(|s| s.name().starts_with("video/") || s.name() == "image/jpeg");
        if is_video && !found.swap(true, Ordering::Relaxed) {
            let (frames, weak) = (Arc::clone(&frames), weak.clone());
            pad.add_probe(gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
                // What only prepares the decoder is no frame.
                if info.buffer().is_some_and(|b| !b.flags().contains(gst::BufferFlags::HEADER) || b.pts().is_some()) {
                    frames.fetch_add(1, Ordering::Relaxed);
                }
                if info.event().is_some_and(|e| e.type_() == gst::EventType::Eos) {
                    end(&weak);
                }
                gst::PadProbeReturn::Ok
            });
        }
        let sink = gst::ElementFactory::make("fakesink").property("sync", false).property("async", false).build();
        if let Ok(sink) = sink
            && pipeline.add(&sink).is_ok()
            && sink.sync_state_with_parent().is_ok()
            && let Some(entry) = sink.static_pad("sink")
            && let Err(error) = pad.link(&entry)
        {
            tracing::debug!("counting frames: {error}");
        }
    });
    let weak = pipeline.downgrade();
    parse.connect_no_more_pads(move |_| {
        if !video.load(Ordering::Relaxed) {
            end(&weak);
        }
    });
    let Some(bus) = pipeline.bus() else { return Ok(0) };
    let _ = pipeline.set_state(gst::State::Playing);
    let kinds = [gst::MessageType::Application, gst::MessageType::Eos, gst::MessageType::Error];
    let (mut last, mut since) = (0, Instant::now());
    let mut standstill = Standstill::default();
    let whole = loop {
        if let Some(message) = bus.timed_pop_filtered(TICK, &kinds) {
            break message.type_() != gst::MessageType::Error;
        }
        let now = counted.load(Ordering::Relaxed);
        if now != last {
            (last, since) = (now, Instant::now());
        } else if since.elapsed() > COUNTING || standstill.lasts(&pipeline) {
            break false;
        }
    };
    let _ = pipeline.set_state(gst::State::Null);
    Ok(if whole { counted.load(Ordering::Relaxed) } else { 0 })
}

fn build(uri: &str, options: Options, seen: &Arc<Seen>) -> Result<(gst::Pipeline, gst_app::AppSink), glib::BoolError> {
    let make = |name: &str| gst::ElementFactory::make(name).build();
    let pipeline = gst::Pipeline::new();
    let source = gst::ElementFactory::make("uridecodebin")
        .property("uri", uri)
        // Pixels are read in system memory.
        .property("force-sw-decoders", true)
        // Any features: decoders that could also give others would not be taken at all.
        .property("caps", gst::Caps::builder("video/x-raw").any_features().build())
        .property("expose-all-streams", false)
        .build()?;
    // Passes on what the cropper can read as it is; converts what few videos have.
    let convert = make("videoconvert")?;
    let sink = gst_app::AppSink::builder().sync(false).max_buffers(WAITING).caps(&deepfake_frames::caps()).build();
    pipeline.add_many([&source, &convert, sink.upcast_ref()])?;
    match options.crf {
        None => convert.link(&sink)?,
        Some(crf) => {
            let chain = encoded(crf)?;
            pipeline.add_many(&chain)?;
            gst::Element::link_many(std::iter::once(&convert).chain(&chain).chain([sink.upcast_ref()]))?;
        }
    }
    connect(&pipeline, &source, &convert, seen);
    Ok((pipeline, sink))
}

/// Through H.264 and back.
fn encoded(crf: u32) -> Result<[gst::Element; 5], glib::BoolError> {
    let make = gst::ElementFactory::make;
    let format = gst::Caps::builder("video/x-raw").field("format", "I420").build();
    let format = make("capsfilter").property("caps", format).build()?;
    let even = make("videobox").build()?;
    // Halved colour has even sizes only: an odd one gets a black line.
    if let Some(pad) = even.static_pad("sink") {
        let even = even.downgrade();
        pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
            if let (Some(even), Some(gst::EventView::Caps(caps))) = (even.upgrade(), info.event().map(|e| e.view()))
                && let Some(caps) = caps.caps().structure(0)
            {
                even.set_property("right", -(caps.get("width").unwrap_or(0) & 1));
                even.set_property("bottom", -(caps.get("height").unwrap_or(0) & 1));
            }
            gst::PadProbeReturn::Ok
        });
    }
    // Constant rate factor. One thread: what several make of a frame depends on how many they are.
    let encode = make("x264enc").property_from_str("pass", "qual").property("quantizer", crf).property("threads", 1u32);
    let encode = encode.build()?;
    Ok([format, even, encode, make("h264parse").build()?, make("avdec_h264").build()?])
}

/// Links the first video that the decoder finds.
fn connect(pipeline: &gst::Pipeline, source: &gst::Element, target: &gst::Element, seen: &Arc<Seen>) {
    let (weak, target) = (pipeline.downgrade(), target.downgrade());
    let found = Arc::clone(seen);
    source.connect_pad_added(move |_, pad| {
        if found.video.swap(true, Ordering::Relaxed) {
            return;
        }
        if let (Some(pipeline), Some(target)) = (weak.upgrade(), target.upgrade()) {
            link_upright_once_known(&pipeline, pad, &target);
        }
    });
    let (weak, found) = (pipeline.downgrade(), Arc::clone(seen));
    source.connect_no_more_pads(move |source| {
        if let Some(pipeline) = weak.upgrade()
            && !found.video.load(Ordering::Relaxed)
        {
            let message = gst::message::Application::builder(gst::Structure::new_empty(NO_VIDEO)).src(source).build();
            // Only a pipeline that is being torn down takes no message.
            let _ = pipeline.post_message(message);
        }
    });
}
