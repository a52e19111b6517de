//! One picture through H.264 and back, by GStreamer.

use std::sync::OnceLock;

use gst::prelude::*;
use gst_app::{AppSink, AppSrc};
use gst_video::prelude::*;
use gst_video::{VideoFormat, VideoFrameRef, VideoInfo};

use crate::data::Picture;
use crate::error::{Error, Result};

/// Decoders of H.264 in software, the first that is there.
const DECODERS: [&str; 2] = ["avdec_h264", "openh264dec"];

/// The picture as x264 leaves it at that constant rate factor, 4:2:0, its other settings as they usually are.
pub(super) fn round_trip(picture: &mut Picture, factor: f64) -> Result<()> {
    start()?;
    // Chroma of half the size wants even sides: an edge is repeated and cut off again.
    let (width, height) = (picture.width.next_multiple_of(2), picture.height.next_multiple_of(2));
    let info = VideoInfo::builder(VideoFormat::Rgb, width as u32, height as u32)
        .fps(gst::Fraction::new(25, 1))
        .build()
        .map_err(failed)?;
    let pipeline = gst::Pipeline::new();
    let caps = info.to_caps().map_err(failed)?;
    let source = AppSrc::builder().caps(&caps).format(gst::Format::Time).build();
    let raw = gst::Caps::builder("video/x-raw").field("format", "I420").build();
    // Without `vbv-buf-capacity=0` the element would also keep to a bit rate.
    let encoder = element("x264enc")?;
    encoder.set_property_from_str("pass", "qual");
    encoder.set_property("quantizer", factor.round() as u32);
    encoder.set_property("vbv-buf-capacity", 0u32);
    // One picture gains nothing from more, and its bits must not depend on the machine.
    encoder.set_property("threads", 1u32);
    let narrow = gst::ElementFactory::make("capsfilter").property("caps", &raw).build().map_err(failed)?;
    let sink = AppSink::builder().caps(&caps).sync(false).build();
    let elements = [
        source.upcast_ref(),
        &element("videoconvert")?,
        &narrow,
        &encoder,
        &element("h264parse")?,
        &decoder()?,
        &element("videoconvert")?,
        sink.upcast_ref(),
    ];
    pipeline.add_many(elements).map_err(failed)?;
    gst::Element::link_many(elements).map_err(failed)?;
    let done = through(&pipeline, &source, &sink, buffer(picture, &info)?);
    // A pipeline must be stopped before it is dropped; that it stops has no bearing on the picture.
    let _ = pipeline.set_state(gst::State::Null);
    read(&done?, &info, picture)
}

fn through(pipeline: &gst::Pipeline, source: &AppSrc, sink: &AppSink, buffer: gst::Buffer) -> Result<gst::Sample> {
    pipeline.set_state(gst::State::Playing).map_err(failed)?;
    source.push_buffer(buffer).map_err(failed)?;
    source.end_of_stream().map_err(failed)?;
    sink.pull_sample().map_err(|error| {
        let message = pipeline.bus().and_then(|bus| bus.pop_filtered(&[gst::MessageType::Error]));
        match message.as_ref().map(|m| m.view()) {
            Some(gst::MessageView::Error(told)) => failed(told.error()),
            _ => failed(error),
        }
    })
}

/// The picture with repeated edges, in rows as GStreamer lays them.
fn buffer(picture: &Picture, info: &VideoInfo) -> Result<gst::Buffer> {
    let mut buffer = gst::Buffer::with_size(info.size()).map_err(failed)?;
    let whole = buffer.get_mut().ok_or_else(|| failed("a new buffer is shared"))?;
    whole.set_pts(gst::ClockTime::ZERO);
    whole.set_duration(gst::ClockTime::from_mseconds(40));
    let mut frame = VideoFrameRef::from_buffer_ref_writable(whole, info).map_err(failed)?;
    let stride = info.stride()[0] as usize;
    let rows = frame.plane_data_mut(0).map_err(failed)?.chunks_mut(stride);
    for (y, row) in rows.enumerate().take(info.height() as usize) {
        let from = &picture.data[y.min(picture.height - 1) * picture.width * 3..][..picture.width * 3];
        row[..from.len()].copy_from_slice(from);
        if info.width() as usize > picture.width {
            row[from.len()..from.len() + 3].copy_from_slice(&from[from.len() - 3..]);
        }
    }
    drop(frame);
    Ok(buffer)
}

fn read(sample: &gst::Sample, info: &VideoInfo, picture: &mut Picture) -> Result<()> {
    let buffer = sample.buffer().ok_or_else(|| failed("a sample without a picture"))?;
    let frame = VideoFrameRef::from_buffer_ref_readable(buffer, info).map_err(failed)?;
    let stride = frame.plane_stride()[0] as usize;
    let rows = frame.plane_data(0).map_err(failed)?.chunks(stride);
    for (row, out) in rows.zip(picture.data.chunks_exact_mut(picture.width * 3)) {
        out.copy_from_slice(&row[..out.len()]);
    }
    Ok(())
}

fn start() -> Result<()> {
    static STARTED: OnceLock<std::result::Result<(), String>> = OnceLock::new();
    STARTED.get_or_init(|| gst::init().map_err(|e| e.to_string())).clone().map_err(failed)
}

fn element(name: &str) -> Result<gst::Element> {
    gst::ElementFactory::make(name).build().map_err(|_| {
        Error::Distortion(format!("GStreamer has no element `{name}`: install the plugins `ugly` and `libav`"))
    })
}

fn decoder() -> Result<gst::Element> {
    let found = DECODERS.iter().find(|name| gst::ElementFactory::find(name).is_some());
    element(found.unwrap_or(&DECODERS[0]))
}

fn failed(what: impl std::fmt::Display) -> Error {
    Error::Distortion(format!("H.264: {what}"))
}
