//! The element.

use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use deepfake_scoring::frame::PixelFormat;
use gst::prelude::*;
use gst::subclass::prelude::*;
use gst_base::subclass::prelude::*;

use super::blend::{Area, Canvas};
use super::scene::{Painter, Shape, Style};
use crate::meta::Scores;

static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new("deepfakeoverlay", gst::DebugColorFlags::empty(), Some("Deepfake scores drawn into video"))
});

impl Default for Style {
    fn default() -> Self {
        Self { boxes: true, labels: true, map: true, map_opacity: 0.5, line_width: 0, font: "Sans".into() }
    }
}

/// For frames of one kind of caps.
#[derive(Debug)]
struct State {
    info: gst_video::VideoInfo,
    canvas: Canvas,
    painter: Painter,
    /// That faces without a place come in.
    told: bool,
}

#[derive(Debug, Default)]
pub struct DeepfakeOverlay {
    settings: Mutex<Style>,
    state: Mutex<Option<State>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic has become an element error already; the values are plain and stay sound.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[glib::object_subclass]
impl ObjectSubclass for DeepfakeOverlay {
    const NAME: &'static str = "GstDeepfakeOverlay";
    type Type = super::DeepfakeOverlay;
    type ParentType = gst_base::BaseTransform;
}

impl ObjectImpl for DeepfakeOverlay {
    fn properties() -> &'static [glib::ParamSpec] {
        static PROPERTIES: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(|| {
            let defaults = Style::default();
            let switch = |name, nick, blurb, default| {
                glib::ParamSpecBoolean::builder(name)
                    .nick(nick)
                    .blurb(blurb)
                    .default_value(default)
                    .mutable_playing()
                    .build()
            };
            vec![
                switch("show-boxes", "Show boxes", "Draw a box around each face", defaults.boxes),
                switch("show-labels", "Show labels", "Write verdict, score and track at each face", defaults.labels),
                switch(
                    "show-map",
                    "Show map",
                    "Draw where the evidence is: red speaks for fake, blue for real",
                    defaults.map,
                ),
                glib::ParamSpecDouble::builder("map-opacity")
                    .nick("Map opacity")
                    .blurb("How much the strongest evidence covers of what is below it")
                    .minimum(0.0)
                    .maximum(1.0)
                    .default_value(defaults.map_opacity)
                    .mutable_playing()
                    .build(),
                glib::ParamSpecUInt::builder("line-width")
                    .nick("Line width")
                    .blurb("Of the boxes, in pixels (0: by the size of the frame)")
                    .maximum(64)
                    .default_value(defaults.line_width)
                    .mutable_playing()
                    .build(),
                glib::ParamSpecString::builder("font")
                    .nick("Font")
                    .blurb("Pango description of the labels' font; without a size it follows that of the frame")
                    .default_value(Some(&*defaults.font))
                    .mutable_playing()
                    .build(),
            ]
        });
        &PROPERTIES
    }

    fn set_property(&self, _id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
        const TYPE: &str = "GObject checks the type";
        let mut style = locked(&self.settings);
        match pspec.name() {
            "show-boxes" => style.boxes = value.get().expect(TYPE),
            "show-labels" => style.labels = value.get().expect(TYPE),
            "show-map" => style.map = value.get().expect(TYPE),
            "map-opacity" => style.map_opacity = value.get().expect(TYPE),
            "line-width" => style.line_width = value.get().expect(TYPE),
            "font" => {
                style.font = value.get::<Option<String>>().expect(TYPE).unwrap_or_else(|| Style::default().font);
            }
            other => unreachable!("no property {other}"),
        }
    }

    fn property(&self, _id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        let style = locked(&self.settings);
        match pspec.name() {
            "show-boxes" => style.boxes.to_value(),
            "show-labels" => style.labels.to_value(),
            "show-map" => style.map.to_value(),
            "map-opacity" => style.map_opacity.to_value(),
            "line-width" => style.line_width.to_value(),
            "font" => style.font.to_value(),
            other => unreachable!("no property {other}"),
        }
    }
}

impl GstObjectImpl for DeepfakeOverlay {}

impl ElementImpl for DeepfakeOverlay {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "Deepfake score overlay",
                "Filter/Editor/Video",
                "Draws the scores that deepfakescore attached to the frames: box, verdict, evidence map",
                env!("CARGO_PKG_NAME"),
            )
        });
        Some(&*METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
            let formats = PixelFormat::ALL.map(|f| gst_video::VideoFormat::from_string(f.name()));
            let caps = gst_video::VideoCapsBuilder::new().format_list(formats).build();
            [("sink", gst::PadDirection::Sink), ("src", gst::PadDirection::Src)]
                .map(|(name, direction)| {
                    gst::PadTemplate::new(name, direction, gst::PadPresence::Always, &caps).expect("the caps are sound")
                })
                .into()
        });
        &TEMPLATES
    }
}

impl BaseTransformImpl for DeepfakeOverlay {
    const MODE: gst_base::subclass::BaseTransformMode = gst_base::subclass::BaseTransformMode::AlwaysInPlace;
    // Always passing through: only so are frames without faces not even made writable.
    const PASSTHROUGH_ON_SAME_CAPS: bool = true;
    const TRANSFORM_IP_ON_PASSTHROUGH: bool = false;

    fn stop(&self) -> Result<(), gst::ErrorMessage> {
        *locked(&self.state) = None;
        Ok(())
    }

    fn set_caps(&self, incaps: &gst::Caps, _outcaps: &gst::Caps) -> Result<(), gst::LoggableError> {
        let info = gst_video::VideoInfo::from_caps(incaps)
            .map_err(|error| gst::loggable_error!(CAT, "Cannot read {incaps:?}: {error}"))?;
        let canvas = Canvas::new(&info);
        let mut painter = Painter::new(canvas.area());
        // The first label loads the fonts, which takes longer than a frame: not while there are frames.
        let style = locked(&self.settings).clone();
        painter.prepare(&style).map_err(|error| gst::loggable_error!(CAT, "Cannot draw labels: {error}"))?;
        *locked(&self.state) = Some(State { info, canvas, painter, told: false });
        Ok(())
    }

    fn submit_input_buffer(
        &self,
        is_discont: bool,
        mut inbuf: gst::Buffer,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        if let Some(scores) = Scores::from_buffer(&inbuf).filter(|s| !s.faces.is_empty()) {
            self.draw(&mut inbuf, &scores)?;
        }
        self.parent_submit_input_buffer(is_discont, inbuf)
    }
}

impl DeepfakeOverlay {
    fn draw(&self, buffer: &mut gst::Buffer, scores: &Scores) -> Result<(), gst::FlowError> {
        let mut guard = locked(&self.state);
        let State { info, canvas, painter, told } = guard.as_mut().ok_or(gst::FlowError::NotNegotiated)?;
        // Once, not for each frame.
        if scores.faces.iter().any(|f| f.bbox.is_none()) && !std::mem::replace(told, true) {
            gst::element_imp_warning!(
                self,
                gst::StreamError::Failed,
                ("Faces cannot be drawn: where they are is not known any more"),
                [
                    "Between deepfakescore and here the picture was cropped, turned or put between borders; draw before that"
                ]
            );
        }
        let style = locked(&self.settings).clone();
        let shapes = painter.scene(scores, &style).map_err(|error| {
            gst::element_imp_error!(self, gst::LibraryError::Failed, ("Cannot draw a label: {error}"));
            gst::FlowError::Error
        })?;
        if shapes.is_empty() {
            return Ok(());
        }
        gst::trace!(CAT, imp = self, "Drawing {} shapes", shapes.len());
        let mut frame = gst_video::VideoFrameRef::from_buffer_ref_writable(buffer.make_mut(), info).map_err(|_| {
            gst::element_imp_error!(self, gst::StreamError::Format, ("A buffer is not the frame that its caps say"));
            gst::FlowError::Error
        })?;
        for shape in shapes {
            match shape {
                Shape::Solid(area, colour) => canvas.blend(&mut frame, area, |_, _| colour),
                Shape::Picture(left, top, picture) => {
                    let (width, height) = (picture.width as i32, picture.height as i32);
                    let area = Area::new(left, top, left + width, top + height);
                    canvas.blend(&mut frame, area, |x, y| {
                        picture.pixels[(y - top) as usize * picture.width + (x - left) as usize]
                    });
                }
            }
        }
        Ok(())
    }
}
