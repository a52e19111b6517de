//! Writes videos for tests to read.

#![allow(dead_code, missing_docs, clippy::unwrap_used)] // each test file uses a part

use std::path::Path;

use gst::prelude::*;
use image::RgbImage;

/// Frames a second of the videos written here.
pub(crate) const RATE: u32 = 25;

/// How a video is written.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Writing<'a> {
    /// What stands after `videoconvert`, up to the muxer; H.264 of good quality where it is empty.
    pub encoder: &'a str,
    /// The muxer; MP4 where it is empty.
    pub muxer: &'a str,
}

/// Writes pictures of one size as a video of [`RATE`] frames a second.
pub(crate) fn write_video(path: &Path, pictures: impl IntoIterator<Item = RgbImage>, writing: Writing<'_>) {
    gst::init().unwrap();
    let or = |given: &str, default: &str| if given.is_empty() { default.to_owned() } else { given.to_owned() };
    let text = format!(
        "appsrc name=source format=time ! videoconvert ! {} ! {} ! filesink name=file",
        or(writing.encoder, "x264enc pass=qual quantizer=12 speed-preset=ultrafast key-int-max=10 ! h264parse"),
        or(writing.muxer, "mp4mux"),
    );
    let pipeline = gst::parse::launch(&text).unwrap().downcast::<gst::Pipeline>().unwrap();
    pipeline.by_name("file").unwrap().set_property("location", path);
    let source = pipeline.by_name("source").unwrap().downcast::<gst_app::AppSrc>().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    for (index, picture) in pictures.into_iter().enumerate() {
        if index == 0 {
            let rate = gst::Fraction::new(RATE as i32, 1);
            let info = gst_video::VideoInfo::builder(gst_video::VideoFormat::Rgb, picture.width(), picture.height());
            source.set_caps(Some(&info.fps(rate).build().unwrap().to_caps().unwrap()));
        }
        let row = 3 * picture.width() as usize;
        let mut bytes = Vec::new();
        for pixels in picture.as_raw().chunks(row) {
            bytes.extend_from_slice(pixels);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        let mut buffer = gst::Buffer::from_slice(bytes);
        let time = |n: usize| gst::ClockTime::from_nseconds(n as u64 * 1_000_000_000 / u64::from(RATE));
        let own = buffer.get_mut().unwrap();
        own.set_pts(time(index));
        own.set_duration(time(1));
        source.push_buffer(buffer).unwrap();
    }
    source.end_of_stream().unwrap();
    let message = pipeline
        .bus()
        .unwrap()
        .timed_pop_filtered(gst::ClockTime::NONE, &[gst::MessageType::Eos, gst::MessageType::Error])
        .unwrap();
    pipeline.set_state(gst::State::Null).unwrap();
    if let gst::MessageView::Error(e) = message.view() {
        panic!("{text}: {} ({:?})", e.error(), e.debug());
    }
}
