//! GStreamer's video frames as the borrowed views that `scoring` reads.

use deepfake_scoring::frame::{
    ChromaSite, Colorimetry, FrameError, FrameView, Matrix, PixelFormat, Plane, Range, Scan, Transfer,
};
use gst_video::prelude::*;
use thiserror::Error;

/// Why the pixels of a buffer cannot be read.
#[derive(Debug, Error)]
pub enum MapError {
    /// The format is not one of [`PixelFormat::ALL`].
    #[error("the format {0} is not read here")]
    Format(String),
    /// The fields of a frame are in separate buffers or one after the other.
    #[error("the interlace mode {0:?} is not read here: put `interlace` or `deinterlace` before the element")]
    Interlacing(gst_video::VideoInterlaceMode),
    /// GStreamer cannot map the buffer.
    #[error("the buffer cannot be mapped: {0}")]
    Map(#[from] glib::BoolError),
    /// A video meta that speaks of another kind of pixels than the caps.
    #[error("the buffer's video meta says {0}, which is not what the caps say")]
    Meta(String),
    /// Rows from bottom to top.
    #[error("plane {0} has a negative stride")]
    NegativeStride(u32),
    /// Planes that are too small.
    #[error(transparent)]
    Frame(#[from] FrameError),
}

/// What the caps say of every frame.
#[derive(Clone, Debug)]
pub struct FrameFormat {
    info: gst_video::VideoInfo,
    format: PixelFormat,
    colorimetry: Colorimetry,
    site: ChromaSite,
}

impl FrameFormat {
    /// Reads the caps' meaning.
    ///
    /// # Errors
    ///
    /// Formats and interlace modes that are not read.
    pub fn new(info: &gst_video::VideoInfo) -> Result<Self, MapError> {
        use gst_video::VideoInterlaceMode as Mode;
        let name = info.format().to_str();
        let format = PixelFormat::from_name(name).ok_or_else(|| MapError::Format(name.to_string()))?;
        match info.interlace_mode() {
            Mode::Progressive | Mode::Interleaved | Mode::Mixed => {}
            other => return Err(MapError::Interlacing(other)),
        }
        Ok(Self { info: info.clone(), format, colorimetry: colorimetry(info), site: chroma_site(info) })
    }

    /// As the caps say.
    pub fn info(&self) -> &gst_video::VideoInfo {
        &self.info
    }

    /// Lends the pixels of a buffer to `read`. Nothing is copied.
    ///
    /// # Errors
    ///
    /// Buffers that cannot be mapped or are too small for the caps.
    pub fn with_view<T>(&self, buffer: &gst::BufferRef, read: impl FnOnce(&FrameView<'_>) -> T) -> Result<T, MapError> {
        // GStreamer itself takes that for a mistake of whoever asks it to map.
        let other = buffer.meta::<gst_video::VideoMeta>().map(|m| m.format()).filter(|f| *f != self.info.format());
        if let Some(other) = other {
            return Err(MapError::Meta(other.to_str().to_string()));
        }
        let frame = gst_video::VideoFrameRef::from_buffer_ref_readable(buffer, &self.info)?;
        let mut planes = [Plane { data: &[], stride: 0 }; 4];
        let count = frame.n_planes().min(4) as usize;
        for (index, plane) in planes.iter_mut().take(count).enumerate() {
            let stride = frame.plane_stride()[index];
            let stride = usize::try_from(stride).map_err(|_| MapError::NegativeStride(index as u32))?;
            *plane = Plane { data: mapped(&frame, index), stride };
        }
        let (width, height) = (frame.width() as usize, frame.height() as usize);
        let view = FrameView::new(self.format, width, height, self.colorimetry, self.scan(buffer), &planes[..count])?;
        Ok(read(&view.with_chroma_site(self.site)))
    }

    fn scan(&self, buffer: &gst::BufferRef) -> Scan {
        use gst_video::{VideoBufferFlags, VideoFieldOrder, VideoInterlaceMode};
        let flags = VideoBufferFlags::from_bits_truncate(buffer.flags().bits());
        let interlaced = match self.info.interlace_mode() {
            VideoInterlaceMode::Interleaved => true,
            VideoInterlaceMode::Mixed => flags.contains(VideoBufferFlags::INTERLACED),
            _ => false,
        };
        let top_first = match self.info.field_order() {
            VideoFieldOrder::TopFieldFirst => true,
            VideoFieldOrder::BottomFieldFirst => false,
            _ => flags.contains(VideoBufferFlags::TFF),
        };
        match (interlaced, top_first) {
            (false, _) => Scan::Progressive,
            (true, true) => Scan::TopFieldFirst,
            (true, false) => Scan::BottomFieldFirst,
        }
    }
}

/// The bytes of a plane up to the end of what is mapped. The bindings' own accessor takes stride times height, which a
/// last row may fall short of, and which a video meta may say anything about.
fn mapped<'a>(frame: &'a gst_video::VideoFrameRef<&'a gst::BufferRef>, index: usize) -> &'a [u8] {
    // SAFETY: the frame is mapped for as long as it is borrowed, and so many bytes of it.
    unsafe {
        let raw = &*frame.as_ptr();
        match length(raw, index) {
            0 => &[],
            len => std::slice::from_raw_parts(raw.data[index].cast::<u8>(), len),
        }
    }
}

/// The bytes of a plane that is to be written to, up to the end of what is mapped, for the same reasons. None where there is no
/// such plane.
pub fn plane_mut<'a>(frame: &'a mut gst_video::VideoFrameRef<&mut gst::BufferRef>, index: usize) -> &'a mut [u8] {
    if index >= frame.n_planes().min(4) as usize {
        return &mut [];
    }
    // SAFETY: the frame is mapped for writing, and so many bytes of it. No other plane, whose bytes may be the same, is lent meanwhile.
    unsafe {
        let raw = &*frame.as_ptr();
        match length(raw, index) {
            0 => &mut [],
            len => std::slice::from_raw_parts_mut(raw.data[index].cast::<u8>(), len),
        }
    }
}

/// How many bytes of a plane are mapped. With a video meta each plane has a map of its own, without one all lie in the first;
/// `data` points into it, which is checked.
fn length(raw: &gst_video::ffi::GstVideoFrame, index: usize) -> usize {
    let map = if raw.meta.is_null() { &raw.map[0] } else { &raw.map[index] };
    let (start, data) = (map.data as usize, raw.data[index] as usize);
    let left = data.checked_sub(start).and_then(|offset| map.size.checked_sub(offset));
    if data == 0 { 0 } else { left.unwrap_or(0) }
}

fn colorimetry(info: &gst_video::VideoInfo) -> Colorimetry {
    use gst_video::{VideoColorMatrix as M, VideoColorRange as R, VideoTransferFunction as T};
    let said = info.colorimetry();
    // What nobody specified is taken for what such a picture usually is.
    let unspecified = if info.height() > 576 { Matrix::Bt709 } else { Matrix::Bt601 };
    let matrix = match said.matrix() {
        M::Bt709 | M::Smpte240m => Matrix::Bt709,
        M::Bt2020 => Matrix::Bt2020,
        M::Bt601 | M::Fcc => Matrix::Bt601,
        _ => unspecified,
    };
    let range = match said.range() {
        R::Range0_255 => Range::Full,
        R::Range16_235 => Range::Limited,
        _ if info.is_yuv() => Range::Limited,
        _ => Range::Full,
    };
    let transfer = match said.transfer() {
        T::Smpte2084 => Transfer::Pq,
        T::AribStdB67 => Transfer::Hlg,
        _ => Transfer::Sdr,
    };
    Colorimetry { range, matrix, transfer }
}

fn chroma_site(info: &gst_video::VideoInfo) -> ChromaSite {
    let site = info.chroma_site();
    if site.is_empty() {
        return ChromaSite::default();
    }
    ChromaSite {
        horizontally_cosited: site.contains(gst_video::VideoChromaSite::H_COSITED),
        vertically_cosited: site.contains(gst_video::VideoChromaSite::V_COSITED),
    }
}

/// The caps of everything that is read, from the one list of formats.
pub fn caps() -> gst::Caps {
    let formats = PixelFormat::ALL.into_iter().map(|f| gst_video::VideoFormat::from_string(f.name()));
    gst_video::VideoCapsBuilder::new().format_list(formats).build()
}
