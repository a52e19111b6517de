//! The element.

use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use gst::prelude::*;
use gst::subclass::prelude::*;

use super::outbox::{Entry, Item, Loss, Outbox};
use super::{Format, Leaky};
use crate::dlstreamer;
use crate::record::{FrameInfo, Record, SCHEMA_VERSION, Utc, UtcSource};

static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new("deepfakejson", gst::DebugColorFlags::empty(), Some("Deepfake scores as JSON lines"))
});

/// Far more than any encoder delays the video by, so that a pipeline prerolls; some megabytes at most.
const DEFAULT_MAX_QUEUED: u32 = 1024;
/// From 1900, where NTP begins, to 1970.
const NTP_TO_UNIX: Duration = Duration::from_secs(2_208_988_800);

#[derive(Clone, Debug)]
struct Settings {
    format: Format,
    maps: bool,
    stream_name: Option<Arc<str>>,
    max_queued: u32,
    leaky: Leaky,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            format: Format::default(),
            maps: true,
            stream_name: None,
            max_queued: DEFAULT_MAX_QUEUED,
            leaky: Leaky::default(),
        }
    }
}

/// What is known of the stream. Only the streaming thread of the video changes it.
#[derive(Debug, Default)]
struct Stream {
    id: Option<Arc<str>>,
    size: Option<(u32, u32)>,
    segment: Option<gst::FormattedSegment<gst::ClockTime>>,
    frames: u64,
    /// `None` until upstream answered.
    live: Option<bool>,
    caps_sent: bool,
}

#[derive(Debug)]
pub struct DeepfakeJson {
    sink: gst::Pad,
    src: gst::Pad,
    json: gst::Pad,
    settings: Mutex<Settings>,
    stream: Mutex<Stream>,
    outbox: Outbox,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic has become an element error already; the values are plain and stay sound.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn json_caps(format: Format) -> gst::Caps {
    let caps = gst::Caps::builder("application/x-ndjson");
    match format {
        Format::Records => caps.field("schema", "deepfakescore").field("version", SCHEMA_VERSION as i32).build(),
        Format::DlStreamer => caps.field("schema", "gvametaconvert").build(),
    }
}

#[glib::object_subclass]
impl ObjectSubclass for DeepfakeJson {
    const NAME: &'static str = "GstDeepfakeJson";
    type Type = super::DeepfakeJson;
    type ParentType = gst::Element;

    fn with_class(class: &Self::Class) -> Self {
        let builder = |name| {
            let template = class.pad_template(name).expect("every pad has a template of its name");
            gst::Pad::builder_from_template(&template).iterate_internal_links_function(|pad, parent| {
                Self::catch_panic_pad_function(
                    parent,
                    || gst::Iterator::from_vec(Vec::new()),
                    |imp| imp.internal_links(pad),
                )
            })
        };
        let proxy = gst::PadFlags::PROXY_CAPS | gst::PadFlags::PROXY_ALLOCATION | gst::PadFlags::PROXY_SCHEDULING;
        let sink = builder("sink")
            .flags(proxy)
            .chain_function(|_, parent, buffer| {
                Self::catch_panic_pad_function(parent, || Err(gst::FlowError::Error), |imp| imp.chain(buffer))
            })
            .event_function(|_, parent, event| {
                Self::catch_panic_pad_function(parent, || false, |imp| imp.sink_event(event))
            })
            .build();
        let src = builder("src").flags(proxy).build();
        let json = builder("json")
            .activatemode_function(|_, parent, mode, active| {
                Self::catch_panic_pad_function(
                    parent,
                    || Err(gst::loggable_error!(CAT, "Panic activating the json pad")),
                    |imp| imp.activate_json(mode, active),
                )
            })
            .event_function(|pad, parent, event| {
                Self::catch_panic_pad_function(parent, || false, |imp| imp.json_event(pad, event))
            })
            .query_function(|pad, parent, query| {
                Self::catch_panic_pad_function(parent, || false, |imp| imp.json_query(pad, query))
            })
            .build();
        Self { sink, src, json, settings: Mutex::default(), stream: Mutex::default(), outbox: Outbox::default() }
    }
}

impl ObjectImpl for DeepfakeJson {
    fn properties() -> &'static [glib::ParamSpec] {
        static PROPERTIES: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(|| {
            let defaults = Settings::default();
            vec![
                glib::ParamSpecEnum::builder::<Format>("format")
                    .nick("Format")
                    .blurb("How lines are written")
                    .default_value(defaults.format)
                    .mutable_ready()
                    .build(),
                glib::ParamSpecBoolean::builder("maps")
                    .nick("Maps")
                    .blurb("Whether records contain the evidence maps")
                    .default_value(defaults.maps)
                    .mutable_playing()
                    .build(),
                glib::ParamSpecString::builder("stream-name")
                    .nick("Stream name")
                    .blurb("What records call the stream (null: its stream id)")
                    .mutable_playing()
                    .build(),
                glib::ParamSpecUInt::builder("max-queued-records")
                    .nick("Maximum of queued records")
                    .blurb(
                        "How many records may wait for the consumer of the json pad; outside of live pipelines it must \
                         be more than the frames by which encoders delay the video",
                    )
                    .minimum(1)
                    .default_value(defaults.max_queued)
                    .mutable_ready()
                    .build(),
                glib::ParamSpecEnum::builder::<Leaky>("leaky")
                    .nick("Leaky")
                    .blurb("What happens when more records wait than may")
                    .default_value(defaults.leaky)
                    .mutable_ready()
                    .build(),
                glib::ParamSpecUInt64::builder("lost-records")
                    .nick("Lost records")
                    .blurb(
                        "Records that could not be delivered since the element was started; each burst of losses \
                         begins with a warning on the bus",
                    )
                    .read_only()
                    .build(),
            ]
        });
        &PROPERTIES
    }

    fn set_property(&self, _id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
        const TYPE: &str = "GObject checks the type";
        let mut settings = locked(&self.settings);
        match pspec.name() {
            "format" => settings.format = value.get().expect(TYPE),
            "maps" => settings.maps = value.get().expect(TYPE),
            "stream-name" => settings.stream_name = value.get::<Option<String>>().expect(TYPE).map(Arc::from),
            "max-queued-records" => settings.max_queued = value.get().expect(TYPE),
            "leaky" => settings.leaky = value.get().expect(TYPE),
            other => unreachable!("no property {other} can be written"),
        }
    }

    fn property(&self, _id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        let settings = locked(&self.settings);
        match pspec.name() {
            "format" => settings.format.to_value(),
            "maps" => settings.maps.to_value(),
            "stream-name" => settings.stream_name.as_deref().to_value(),
            "max-queued-records" => settings.max_queued.to_value(),
            "leaky" => settings.leaky.to_value(),
            "lost-records" => self.outbox.lost().to_value(),
            other => unreachable!("no property {other} can be read"),
        }
    }

    fn constructed(&self) {
        self.parent_constructed();
        let obj = self.obj();
        for pad in [&self.sink, &self.src, &self.json] {
            obj.add_pad(pad).expect("the names of the pads are different");
        }
    }
}

impl GstObjectImpl for DeepfakeJson {}

impl ElementImpl for DeepfakeJson {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "Deepfake scores as JSON",
                "Analyzer/Video",
                "Writes the scores that deepfakescore attached to the frames as one line of JSON a frame",
                env!("CARGO_PKG_NAME"),
            )
        });
        Some(&*METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
            // The pixels are never touched, so they may be in any kind of memory.
            let video = gst::Caps::builder("video/x-raw").any_features().build();
            let mut json = json_caps(Format::Records);
            json.merge(json_caps(Format::DlStreamer));
            [
                ("sink", gst::PadDirection::Sink, &video),
                ("src", gst::PadDirection::Src, &video),
                ("json", gst::PadDirection::Src, &json),
            ]
            .map(|(name, direction, caps)| {
                gst::PadTemplate::new(name, direction, gst::PadPresence::Always, caps).expect("the caps are sound")
            })
            .into()
        });
        &TEMPLATES
    }

    fn change_state(&self, transition: gst::StateChange) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
        if transition == gst::StateChange::ReadyToPaused {
            *locked(&self.stream) = Stream::default();
            self.outbox.forget_losses();
        }
        self.parent_change_state(transition)
    }
}

impl DeepfakeJson {
    fn internal_links(&self, pad: &gst::Pad) -> gst::Iterator<gst::Pad> {
        // Caps and allocation of the video are no matter of the json pad.
        let other = if *pad == self.sink { &self.src } else { &self.sink };
        gst::Iterator::from_single(other.clone())
    }

    fn activate_json(&self, mode: gst::PadMode, active: bool) -> Result<(), gst::LoggableError> {
        if mode != gst::PadMode::Push {
            return Err(gst::loggable_error!(CAT, "The json pad can only push"));
        }
        if active {
            self.outbox.start();
            self.start_task()
        } else {
            self.outbox.stop();
            self.json.stop_task().map_err(Into::into)
        }
    }

    fn start_task(&self) -> Result<(), gst::LoggableError> {
        let weak = self.downgrade();
        self.json
            .start_task(move || {
                if let Some(imp) = weak.upgrade() {
                    imp.deliver();
                }
            })
            .map_err(Into::into)
    }

    /// Goes on with the task that a flush has paused.
    fn resume_task(&self) -> Result<(), gst::LoggableError> {
        unsafe extern "C" fn nothing(_: glib::ffi::gpointer) {}

        if self.json.task_state() == gst::TaskState::Stopped {
            return self.start_task();
        }
        // GStreamer 1.22.0 keeps the closure of `start_task` for good where there is a task already. This has none.
        // SAFETY: the pad lives, and a task that is there goes on with its own function: this one is not looked at.
        let started =
            unsafe { gst::ffi::gst_pad_start_task(self.json.as_ptr(), Some(nothing), std::ptr::null_mut(), None) };
        if started == glib::ffi::GFALSE {
            Err(gst::loggable_error!(CAT, "The json pad's task does not go on"))
        } else {
            Ok(())
        }
    }

    /// One round of the json pad's task.
    fn deliver(&self) {
        match self.outbox.take() {
            None => {
                gst::debug!(CAT, imp = self, "Nothing more to deliver");
                if let Err(error) = self.json.pause_task() {
                    gst::error!(CAT, imp = self, "Cannot pause: {error}");
                }
            }
            Some(Item::Event(event)) => {
                if event.type_() == gst::EventType::StreamStart {
                    self.outbox.reopen();
                }
                gst::log!(CAT, obj = self.json, "Pushing {event:?}");
                // A flush in this moment would cost the pad the name of its stream for good.
                let lasting = [gst::EventType::StreamStart, gst::EventType::Caps, gst::EventType::Tag];
                let pushed = self.json.push_event(event.clone());
                let flushing = || self.json.pad_flags().contains(gst::PadFlags::FLUSHING) && self.json.is_active();
                if !pushed && lasting.contains(&event.type_()) && flushing() {
                    self.outbox.put_back(event);
                }
            }
            Some(Item::Record { entry, discont }) => self.deliver_record(&entry, discont),
        }
    }

    fn deliver_record(&self, entry: &Entry, discont: bool) {
        let peer = self.json.peer();
        if self.outbox.closed_by(peer.as_ref()) {
            return;
        }
        let (format, name, maps) = {
            let settings = locked(&self.settings);
            (settings.format, settings.stream_name.clone(), settings.maps)
        };
        let name = name.or_else(|| locked(&self.stream).id.clone());
        let mut line = Vec::new();
        match format {
            Format::Records => entry.record.write_line(name.as_deref(), maps, &mut line),
            Format::DlStreamer => dlstreamer::write_line(&entry.record, name.as_deref(), maps, &mut line),
        }
        let mut buffer = gst::Buffer::from_mut_slice(line);
        let header = buffer.make_mut();
        header.set_pts(entry.pts);
        header.set_duration(entry.duration);
        if discont {
            header.set_flags(gst::BufferFlags::DISCONT);
        }
        let flow = self.json.push(buffer);
        // Being stopped is no loss; the flag is raised before anybody else is told.
        if flow == Err(gst::FlowError::Flushing) && self.json.pad_flags().contains(gst::PadFlags::FLUSHING) {
            return;
        }
        if let Some(loss) = self.outbox.delivered(flow, peer) {
            self.tell(loss);
        }
    }

    /// Warns once a burst.
    fn tell(&self, loss: Loss) {
        let text = match loss {
            Loss::TooSlow => "the consumer of the json pad is slower than the video".to_owned(),
            Loss::Refused(gst::FlowError::NotLinked) => "the json pad is not linked".to_owned(),
            Loss::Refused(flow) => format!("the consumer of the json pad takes none ({flow:?})"),
        };
        let lost = self.outbox.lost();
        gst::element_imp_warning!(
            self,
            gst::StreamError::Failed,
            ("Records are lost: {text}; the video goes on"),
            ["{lost} record(s) lost so far"],
            details: gst::Structure::builder("deepfakejson-lost").field("lost-records", lost).build()
        );
    }

    fn chain(&self, buffer: gst::Buffer) -> Result<gst::FlowSuccess, gst::FlowError> {
        let live = self.is_live();
        let (limit, leaky) = {
            let settings = locked(&self.settings);
            let leaky = match settings.leaky {
                Leaky::Auto => live,
                Leaky::No => false,
                Leaky::Downstream => true,
            };
            (settings.max_queued as usize, leaky)
        };
        let Some(frame) = self.frame_info(&buffer, live) else {
            gst::error!(CAT, imp = self, "A frame before any caps");
            return Err(gst::FlowError::NotNegotiated);
        };
        let record = Record { frame, scores: Record::scores_of(&buffer) };
        let entry = Entry { record, pts: buffer.pts(), duration: buffer.duration() };
        if let Some(loss) = self.outbox.put_record(entry, limit, leaky) {
            self.tell(loss);
        }
        let flow = self.src.push(buffer);
        match flow {
            // Nobody takes the video: what becomes of the records decides.
            Err(mine @ (gst::FlowError::NotLinked | gst::FlowError::Eos)) => match self.outbox.flow() {
                Err(gst::FlowError::NotLinked) => Err(mine),
                Err(gst::FlowError::Flushing) => Err(gst::FlowError::Flushing),
                other => other,
            },
            _ => flow,
        }
    }

    /// Whether the pipeline is live, as far as is known.
    fn is_live(&self) -> bool {
        if let Some(live) = locked(&self.stream).live {
            return live;
        }
        let mut query = gst::query::Latency::new();
        if !self.sink.peer_query(&mut query) {
            // A source that cannot tell yet is asked again at the next frame.
            return false;
        }
        let live = query.result().0;
        gst::debug!(CAT, imp = self, "The pipeline is {}live", if live { "" } else { "not " });
        locked(&self.stream).live = Some(live);
        live
    }

    fn frame_info(&self, buffer: &gst::BufferRef, live: bool) -> Option<FrameInfo> {
        let mut stream = locked(&self.stream);
        let size = stream.size?;
        let number = stream.frames;
        stream.frames += 1;
        let pts = buffer.pts();
        let running_time = stream.segment.as_ref().and_then(|s| s.to_running_time(pts));
        let stream_time = stream.segment.as_ref().and_then(|s| s.to_stream_time(pts));
        drop(stream);
        let timecode = buffer.meta::<gst_video::VideoTimeCodeMeta>().map(|meta| meta.tc());
        let said = |at: Option<SystemTime>, source| at.map(|at| Utc { at, source });
        let utc = said(reference_time(buffer), UtcSource::Sender)
            .or_else(|| said(timecode_time(timecode.as_ref()?), UtcSource::Timecode))
            .or_else(|| said(self.clock_time(running_time?).filter(|_| live), UtcSource::Clock));
        let timecode = timecode.map(|timecode| timecode.to_string());
        Some(FrameInfo { number, timecode, pts, running_time, stream_time, utc, size })
    }

    /// The wall clock time at which the pipeline's clock showed `running_time`.
    fn clock_time(&self, running_time: gst::ClockTime) -> Option<SystemTime> {
        let obj = self.obj();
        let then = obj.base_time()? + running_time;
        let now = obj.clock()?.time();
        let wall = SystemTime::now();
        if now >= then { wall.checked_sub((now - then).into()) } else { wall.checked_add((then - now).into()) }
    }

    fn sink_event(&self, event: gst::Event) -> bool {
        gst::log!(CAT, obj = self.sink, "Handling {event:?}");
        let for_json = match event.view() {
            gst::EventView::FlushStart(_) => {
                self.outbox.flush();
                let video = self.src.push_event(event.clone());
                let json = self.json.push_event(event);
                if let Err(error) = self.json.pause_task() {
                    gst::error!(CAT, imp = self, "Cannot pause: {error}");
                }
                return video || json;
            }
            gst::EventView::FlushStop(_) => {
                locked(&self.stream).segment = None;
                let video = self.src.push_event(event.clone());
                let json = self.json.push_event(event);
                // Flushing may overtake the pad's own end.
                if self.json.is_active() {
                    self.outbox.start();
                    if let Err(error) = self.resume_task() {
                        error.log();
                        return false;
                    }
                    // The pad's end may have come in between.
                    if !self.json.is_active() {
                        self.outbox.stop();
                    }
                }
                return video || json;
            }
            gst::EventView::StreamStart(start) => {
                let id = start.stream_id();
                let mut stream = locked(&self.stream);
                stream.id = Some(id.into());
                stream.caps_sent = false;
                Some(
                    gst::event::StreamStart::builder(&format!("{id}/json"))
                        .flags(start.stream_flags())
                        .group_id_if_some(start.group_id())
                        .seqnum(start.seqnum())
                        .build(),
                )
            }
            gst::EventView::Caps(caps) => {
                let Some(size) = frame_size(caps.caps()) else {
                    gst::error!(CAT, imp = self, "No frame size in {:?}", caps.caps());
                    return false;
                };
                let mut stream = locked(&self.stream);
                stream.size = Some(size);
                let first = !std::mem::replace(&mut stream.caps_sent, true);
                let json = json_caps(locked(&self.settings).format);
                first.then(|| gst::event::Caps::builder(&json).seqnum(caps.seqnum()).build())
            }
            gst::EventView::Segment(segment) => {
                locked(&self.stream).segment = segment.segment().downcast_ref().cloned();
                Some(event.clone())
            }
            // Tags on the whole say something about the records too; those on the stream are the video's.
            gst::EventView::Tag(tag) => (tag.tag().scope() == gst::TagScope::Global).then(|| event.clone()),
            gst::EventView::Eos(_)
            | gst::EventView::Gap(_)
            | gst::EventView::SegmentDone(_)
            | gst::EventView::StreamGroupDone(_) => Some(event.clone()),
            _ => None,
        };
        if let Some(event) = for_json {
            self.outbox.put_event(event);
        }
        self.src.push_event(event) || !self.src.is_linked()
    }

    fn json_event(&self, pad: &gst::Pad, event: gst::Event) -> bool {
        match event.view() {
            // The quality of service of the records is no reason to drop video, nor their caps one to renegotiate it.
            gst::EventView::Qos(_) | gst::EventView::Reconfigure(_) => true,
            _ => gst::Pad::event_default(pad, Some(&*self.obj()), event),
        }
    }

    fn json_query(&self, pad: &gst::Pad, query: &mut gst::QueryRef) -> bool {
        let format = match query.view() {
            gst::QueryView::Position(q) => q.format(),
            gst::QueryView::Duration(q) => q.format(),
            gst::QueryView::Seeking(q) => q.format(),
            _ => gst::Format::Time,
        };
        // Bytes upstream are not bytes of JSON.
        format == gst::Format::Time && gst::Pad::query_default(pad, Some(&*self.obj()), query)
    }
}

/// Width and height of the frames.
fn frame_size(caps: &gst::CapsRef) -> Option<(u32, u32)> {
    let s = caps.structure(0)?;
    let side = |name| s.get::<i32>(name).ok().and_then(|v| u32::try_from(v).ok()).filter(|&v| v > 0);
    Some((side("width")?, side("height")?))
}

/// When a frame was taken, as its sender's clock had it.
fn reference_time(buffer: &gst::BufferRef) -> Option<SystemTime> {
    buffer.iter_meta::<gst::ReferenceTimestampMeta>().find_map(|meta| {
        let time: Duration = meta.timestamp().into();
        let since_1970 = match meta.reference().structure(0)?.name().as_str() {
            "timestamp/x-unix" => time,
            "timestamp/x-ntp" => time.checked_sub(NTP_TO_UNIX)?,
            _ => return None,
        };
        SystemTime::UNIX_EPOCH.checked_add(since_1970)
    })
}

/// When a frame was taken by its timecode, which has to know the day for that.
fn timecode_time(timecode: &gst_video::ValidVideoTimeCode) -> Option<SystemTime> {
    timecode.latest_daily_jam()?;
    let time = timecode.to_date_time().ok()?.to_utc().ok()?;
    let seconds = Duration::from_secs(u64::try_from(time.to_unix()).ok()?);
    SystemTime::UNIX_EPOCH.checked_add(seconds + Duration::from_micros(u64::try_from(time.microsecond()).ok()?))
}
