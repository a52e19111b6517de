//! The pipeline that scores a video, and how a run of it ends.
//!
//! ```text
//! uridecodebin -> [videoflip] -> queue -> videoconvert -> deepfakescore -> deepfakejson -> fakesink, or the overlay's file
//!                                                                          json pad  -> queue -> appsink
//! ```

use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use deepfake_frames::{Standstill, link_upright_once_known};
use gst::prelude::*;
use signal_hook::consts::{SIGINT, SIGTERM};
use thiserror::Error;

use crate::arguments::Arguments;
use crate::output::{self, Output};
use crate::pictures::Pictures;
use crate::progress::Progress;
use crate::record::Record;
use crate::summary::Summary;
use crate::timeline::Timeline;

/// How often progress is shown and signals are looked at.
const TICK: gst::ClockTime = gst::ClockTime::from_mseconds(100);

/// What scores it.
pub(crate) const SCORER: &str = "deepfakescore";

/// What opens and decodes the video.
const SOURCE: &str = "uridecodebin";

/// The names of what encodes sound, the best first.
const SOUND_ENCODERS: [&str; 3] = ["fdkaacenc", "avenc_aac", "voaacenc"];

/// Application message: the video has been looked through, and it shows nothing.
const NO_VIDEO: &str = "no-video";

/// How a run ended that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The whole video was scored.
    Complete,
    /// The user stopped it.
    Interrupted,
    /// Whoever read the lines went away.
    NobodyListens,
}

/// Why a video could not be scored.
#[derive(Debug, Error)]
pub(crate) enum Error {
    #[error("GStreamer does not start: {0}")]
    GStreamer(String),
    #[error(
        "GStreamer's element {0} is not found. pipelines/score.sh installs and builds what is needed; run by hand, \
             GST_PLUGIN_PATH must name the folder of libgstdeepfake.so"
    )]
    Element(String),
    #[error("{name} holds no video that can be shown{}", .detail.as_ref().map(|d| format!(": {d}")).unwrap_or_default())]
    NoVideo { name: String, detail: Option<String> },
    #[error(
        "no decoder here for {what}, which {name} needs. Debian's packages gstreamer1.0-libav and \
             gstreamer1.0-plugins-{{good,bad,ugly}} hold most; else re-encode the video as H.264, with ffmpeg for example"
    )]
    NoDecoder { name: String, what: String },
    #[error("{element}: {problem}{}", .detail.as_ref().map(|d| format!("\n{d}")).unwrap_or_default())]
    Run { element: String, problem: String, detail: Option<String> },
    #[error("a record that this program cannot read ({problem}): {line}")]
    Record { problem: serde_json::Error, line: String },
    #[error("cannot write the records: {0}")]
    Write(std::io::Error),
    #[error("{frames} frames came, but {records} records")]
    Lost { frames: u64, records: u64 },
    #[error(transparent)]
    Output(#[from] output::Error),
    #[error("the table cannot be made: {0}")]
    Csv(#[from] csv::Error),
    #[error("the pipeline cannot be put together: {0}")]
    Build(#[from] glib::BoolError),
}

/// Makes an element.
///
/// # Errors
///
/// Where no plugin holds it.
pub(crate) fn make(factory: &str) -> Result<gst::Element, Error> {
    gst::ElementFactory::make(factory).build().map_err(|_| Error::Element(factory.to_owned()))
}

/// What the streaming threads leave behind.
struct Shared<W> {
    out: Mutex<Out<W>>,
    frames: AtomicU64,
    position: AtomicU64,
    video: AtomicBool,
}

/// What a run gathers besides the lines.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) summary: Summary,
    /// Where a report or a text track is to be written.
    pub(crate) timeline: Option<Timeline>,
    /// Where a report is to be written.
    pub(crate) pictures: Option<Pictures>,
}

struct Out<W> {
    writer: W,
    findings: Findings,
    failure: Option<Error>,
    nobody_listens: bool,
}

impl<W: Write> Shared<W> {
    fn out(&self) -> MutexGuard<'_, Out<W>> {
        self.out.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one record. False where no more can be taken.
    fn take(&self, line: &[u8]) -> bool {
        let mut out = self.out();
        let line = line.trim_ascii_end();
        if out.nobody_listens {
            return true;
        }
        match serde_json::from_slice::<Record>(line) {
            Ok(record) => {
                out.findings.summary.add(&record);
                if let Some(timeline) = &mut out.findings.timeline {
                    timeline.add(&record);
                }
            }
            Err(problem) => {
                out.failure = Some(Error::Record { problem, line: String::from_utf8_lossy(line).into_owned() });
                return false;
            }
        }
        match out.writer.write_all(line).and_then(|()| out.writer.write_all(b"\n")) {
            Ok(()) => true,
            Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => {
                out.nobody_listens = true;
                true
            }
            Err(e) => {
                out.failure = Some(Error::Write(e));
                false
            }
        }
    }
}

/// Scores the video with the element: a line a frame to `out`.
///
/// # Errors
///
/// As [`Error`] lists. What was written before is complete lines.
pub(crate) fn run(
    arguments: &Arguments,
    score: gst::Element,
    out: impl Write + Send + 'static,
    progress: &Progress,
) -> Result<(End, Findings), Error> {
    let findings = Findings {
        summary: Summary::new(&arguments.name),
        timeline: (arguments.report.is_some() || arguments.webvtt.is_some()).then(Timeline::default),
        pictures: None,
    };
    let shared = Arc::new(Shared {
        out: Mutex::new(Out { writer: out, findings, failure: None, nobody_listens: false }),
        frames: AtomicU64::new(0),
        position: AtomicU64::new(0),
        video: AtomicBool::new(false),
    });
    let overlay = arguments.overlay.as_deref().map(|path| Output::create("the overlay", path)).transpose()?;
    let pictures = match score.static_pad("src") {
        Some(pad) if arguments.report.is_some() => Some(Pictures::watch(&pad)),
        _ => None,
    };
    let pipeline = build(arguments, score, overlay.as_ref().map(Output::partial), &shared)?;
    let mut end = play(&pipeline, arguments, &shared, progress);
    let stopped = pipeline.set_state(gst::State::Null);
    let elapsed = progress.end();

    let mut out = shared.out();
    if let Some(failure) = out.failure.take() {
        end = Err(failure);
    }
    let (frames, records) = (shared.frames.load(Ordering::Relaxed), out.findings.summary.frames);
    if let Ok(End::Complete) = end
        && frames != records
    {
        end = Err(Error::Lost { frames, records });
    }
    if let (Ok(_), Err(e)) = (&end, stopped) {
        end = Err(Error::Run { element: "pipeline".into(), problem: e.to_string(), detail: None });
    }
    let end = end?;
    if let Some(overlay) = overlay {
        overlay.keep()?;
    }
    let mut findings = std::mem::take(&mut out.findings);
    findings.summary.elapsed = elapsed;
    findings.summary.partial = end != End::Complete;
    if let Some(timeline) = &mut findings.timeline {
        timeline.finish();
    }
    findings.pictures = pictures.map(|p| std::mem::take(&mut *p.lock().unwrap_or_else(PoisonError::into_inner)));
    Ok((end, findings))
}

fn build<W: Write + Send + 'static>(
    arguments: &Arguments,
    score: gst::Element,
    overlay: Option<&Path>,
    shared: &Arc<Shared<W>>,
) -> Result<gst::Pipeline, Error> {
    let pipeline = gst::Pipeline::new();
    let source = make(SOURCE)?;
    source.set_property("uri", &arguments.uri);
    // The element works on system memory.
    source.set_property("force-sw-decoders", true);
    if overlay.is_none() {
        // Any features: decoders that could also give others would not be taken at all.
        source.set_property("caps", gst::Caps::builder("video/x-raw").any_features().build());
        source.set_property("expose-all-streams", false);
    }

    let queue = make("queue")?;
    // Passes on what the element can read as it is; converts what few videos have, such as 4:4:4 of 10 bits.
    let convert = make("videoconvert")?;
    let json = make("deepfakejson")?;
    pipeline.add_many([&source, &queue, &convert, &score, &json])?;
    if arguments.is("mode", "live") {
        // Live scoring of a file: at the pace of the video, as it would come from a camera.
        let pace = make("clocksync")?;
        pipeline.add(&pace)?;
        gst::Element::link_many([&queue, &pace, &convert])?;
    } else {
        queue.link(&convert)?;
    }
    gst::Element::link_many([&convert, &score, &json])?;
    count_frames(&score, shared);

    // In a thread of its own: a sink that waits for the pipeline to play would else block the video beside it.
    let records = make("queue")?;
    let appsink = appsink(shared);
    pipeline.add_many([&records, appsink.upcast_ref()])?;
    json.link_pads(Some("json"), &records, None)?;
    records.link(&appsink)?;

    let sound = match overlay {
        Some(path) => Some(build_overlay(&pipeline, &json, path)?),
        None => {
            let sink = make("fakesink")?;
            sink.set_property("sync", false);
            pipeline.add(&sink)?;
            json.link_pads(Some("src"), &sink, None)?;
            None
        }
    };
    connect(&pipeline, &source, &queue, sound, shared);
    Ok(pipeline)
}

fn count_frames<W: Write + Send + 'static>(score: &gst::Element, shared: &Arc<Shared<W>>) {
    let Some(pad) = score.static_pad("sink") else {
        return;
    };
    let shared = Arc::clone(shared);
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        if let Some(buffer) = info.buffer() {
            shared.frames.fetch_add(1, Ordering::Relaxed);
            if let Some(time) = buffer.pts() {
                shared.position.store(time.nseconds(), Ordering::Relaxed);
            }
        }
        gst::PadProbeReturn::Ok
    });
}

fn appsink<W: Write + Send + 'static>(shared: &Arc<Shared<W>>) -> gst_app::AppSink {
    let shared = Arc::clone(shared);
    gst_app::AppSink::builder()
        .sync(false)
        .max_buffers(1)
        .callbacks(
            gst_app::AppSinkCallbacks::builder()
                .new_sample(move |sink| {
                    let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
                    let Some(buffer) = sample.buffer() else {
                        return Ok(gst::FlowSuccess::Ok);
                    };
                    let line = buffer.map_readable().map_err(|_| gst::FlowError::Error)?;
                    if shared.take(&line) { Ok(gst::FlowSuccess::Ok) } else { Err(gst::FlowError::Error) }
                })
                .build(),
        )
        .build()
}

/// From the scored video to the file. Gives the element that sound is to be linked to.
fn build_overlay(pipeline: &gst::Pipeline, json: &gst::Element, path: &Path) -> Result<gst::Element, Error> {
    let draw = make("deepfakeoverlay")?;
    let convert = make("videoconvert")?;
    let even = make("videobox")?;
    // Eight bits and halved colour: what every player shows.
    let format = make("capsfilter")?;
    format.set_property("caps", gst::Caps::builder("video/x-raw").field("format", "I420").build());
    let encode = make("x264enc")?;
    encode.set_property_from_str("speed-preset", "veryfast");
    encode.set_property_from_str("pass", "qual");
    encode.set_property("quantizer", 20u32);
    // With frames out of order, mp4mux (1.22) cuts off the end of a video whose frame rate varies.
    encode.set_property("bframes", 0u32);
    let parse = make("h264parse")?;
    let queue = make("queue")?;
    let mux = make("mp4mux")?;
    let sink = make("filesink")?;
    sink.set_property("location", path);
    let chain = [&draw, &convert, &format, &even, &encode, &parse, &queue, &mux, &sink];
    pipeline.add_many(chain)?;
    gst::Element::link_many(chain)?;
    json.link_pads(Some("src"), &draw, None)?;

    // H.264 with halved colour has even sizes only: an odd one gets a black line.
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
    Ok(mux)
}

/// Links what the decoder finds: the first video, and the first sound where it is wanted.
fn connect<W: Write + Send + 'static>(
    pipeline: &gst::Pipeline,
    source: &gst::Element,
    video: &gst::Element,
    mux: Option<gst::Element>,
    shared: &Arc<Shared<W>>,
) {
    let weak = pipeline.downgrade();
    let (video, mux) = (video.downgrade(), mux.map(|m| m.downgrade()));
    let seen = Arc::clone(shared);
    let sound = AtomicBool::new(false);
    source.connect_pad_added(move |source, pad| {
        let (Some(pipeline), Some(video)) = (weak.upgrade(), video.upgrade()) else {
            return;
        };
        let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
        let media = caps.structure(0).map(|s| s.name().to_string()).unwrap_or_default();
        let linked = if media.starts_with("video/") && !seen.video.swap(true, Ordering::Relaxed) {
            link_upright_once_known(&pipeline, pad, &video);
            Ok(())
        } else if let Some(mux) = mux.as_ref().and_then(|m| m.upgrade())
            && media.starts_with("audio/")
            && !sound.swap(true, Ordering::Relaxed)
        {
            link_sound(&pipeline, pad, &mux)
        } else {
            gst::info!(gst::CAT_RUST, "not used: {caps}");
            return;
        };
        if let Err(error) = linked {
            gst::element_error!(source, gst::StreamError::Failed, ("{error}"));
        }
    });
    let weak = pipeline.downgrade();
    let seen = Arc::clone(shared);
    source.connect_no_more_pads(move |source| {
        if let Some(pipeline) = weak.upgrade()
            && !seen.video.load(Ordering::Relaxed)
        {
            let message = gst::message::Application::builder(gst::Structure::new_empty(NO_VIDEO)).src(source).build();
            // Only a pipeline that is being torn down takes no message.
            let _ = pipeline.post_message(message);
        }
    });
}

fn link_sound(pipeline: &gst::Pipeline, pad: &gst::Pad, mux: &gst::Element) -> Result<(), Error> {
    let encode = SOUND_ENCODERS
        .iter()
        .find_map(|name| make(name).ok())
        .ok_or_else(|| Error::Element(SOUND_ENCODERS.join(" or ")))?;
    let chain = [make("audioconvert")?, make("audioresample")?, encode, make("aacparse")?, make("queue")?];
    pipeline.add_many(&chain)?;
    gst::Element::link_many(&chain)?;
    chain[chain.len() - 1].link(mux)?;
    for element in &chain {
        element.sync_state_with_parent()?;
    }
    link(pad, &chain[0])
}

fn link(pad: &gst::Pad, element: &gst::Element) -> Result<(), Error> {
    let sink = element.static_pad("sink").ok_or_else(|| Error::Element(element.name().into()))?;
    pad.link(&sink).map(|_| ()).map_err(|e| glib::bool_error!("{e}").into())
}

/// Plays to the end.
fn play<W: Write + Send + 'static>(
    pipeline: &gst::Pipeline,
    arguments: &Arguments,
    shared: &Arc<Shared<W>>,
    progress: &Progress,
) -> Result<End, Error> {
    let interrupt = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // The first asks for a clean end, a second one does not wait for it. Where the handlers cannot be set, the
        // system's own stay, which end the program.
        let _ = signal_hook::flag::register_conditional_shutdown(
            signal,
            i32::from(crate::INTERRUPTED),
            Arc::clone(&interrupt),
        );
        let _ = signal_hook::flag::register(signal, Arc::clone(&interrupt));
    }

    let bus = pipeline.bus().ok_or_else(|| glib::bool_error!("a pipeline without a bus"))?;
    let mut missing = Vec::new();
    let mut ending = None;
    let mut standstill = Standstill::default();
    // Its error, if any, comes as a message that says more.
    let _ = pipeline.set_state(gst::State::Playing);
    loop {
        if ending.is_none() {
            ending = if interrupt.load(Ordering::Relaxed) {
                Some(End::Interrupted)
            } else {
                shared.out().nobody_listens.then_some(End::NobodyListens)
            };
            // The file with the overlay is whole only after this.
            if ending.is_some() && !pipeline.send_event(gst::event::Eos::new()) {
                return Ok(ending.unwrap_or(End::Interrupted));
            }
        }
        let duration = pipeline.query_duration::<gst::ClockTime>().map(Duration::from);
        let position = Duration::from_nanos(shared.position.load(Ordering::Relaxed));
        progress.show(position, duration, shared.frames.load(Ordering::Relaxed));

        let Some(message) = bus.timed_pop(TICK) else {
            if !shared.video.load(Ordering::Relaxed) && standstill.lasts(pipeline) {
                return Err(no_video(arguments, &missing, None));
            }
            continue;
        };
        match message.view() {
            gst::MessageView::Eos(_) => return Ok(ending.unwrap_or(End::Complete)),
            gst::MessageView::Application(m) if m.structure().is_some_and(|s| s.name() == NO_VIDEO) => {
                return Err(no_video(arguments, &missing, None));
            }
            gst::MessageView::Element(m) => {
                if let Some(what) = m.structure().filter(|s| s.name() == "missing-plugin") {
                    missing.push(what.get::<String>("name").unwrap_or_else(|_| "this kind of file".into()));
                }
            }
            gst::MessageView::Warning(w) => {
                progress.say(&format!("warning: {}", w.error()));
            }
            gst::MessageView::Error(e) => {
                if !shared.video.load(Ordering::Relaxed) && part_of(e.src(), SOURCE) {
                    // A file of sound only is told as one that lacks a plugin, which it does not.
                    let detail = Some(e.error()).filter(|e| !e.matches(gst::CoreError::MissingPlugin));
                    return Err(no_video(arguments, &missing, detail.map(|e| e.to_string())));
                }
                return Err(Error::Run {
                    element: e.src().map(|s| s.name().to_string()).unwrap_or_default(),
                    problem: e.error().to_string(),
                    // The element's own problems say all in themselves; what is added is where in its source they arose.
                    detail: e.debug().filter(|_| !part_of(e.src(), SCORER)).map(Into::into),
                });
            }
            _ => {}
        }
    }
}

/// Is it an element of that factory, or inside of one?
fn part_of(object: Option<&gst::Object>, factory: &str) -> bool {
    std::iter::successors(object.cloned(), |o| o.parent())
        .filter_map(|o| o.downcast::<gst::Element>().ok())
        .any(|e| e.factory().is_some_and(|f| f.name() == factory))
}

fn no_video(arguments: &Arguments, missing: &[String], detail: Option<String>) -> Error {
    let name = arguments.name.clone();
    if missing.is_empty() {
        Error::NoVideo { name, detail }
    } else {
        Error::NoDecoder { name, what: missing.join(", ") }
    }
}
