//! Pixels of any caps in memory of any layout.

use deepfake_frames::FrameFormat;
use deepfake_scoring::contract::{Channels, Layout};
use deepfake_scoring::crop::{Cropper, TensorSpec};
use deepfake_scoring::frame::{ChromaSite, Colorimetry, FrameView, Matrix, PixelFormat, Plane, Range, Scan, Transfer};
use deepfake_scoring::geometry::Rect;
use deepfake_scoring::shot::CutDetector;
use gst_video::{VideoFormat, VideoFrameFlags, VideoInfo, VideoInterlaceMode, VideoMeta};

use crate::input::Input;

/// A frame, once by planes that somebody names, once by caps and a video meta, and a crop of any region of it.
pub fn frame(data: &[u8]) {
    let mut input = Input(data);
    let format = input.pick(&PixelFormat::ALL);
    let side = |input: &mut Input<'_>| if input.byte() < 8 { input.u32() as usize } else { 1 + input.below(96) };
    let (width, height) = (side(&mut input), side(&mut input));
    let colorimetry = Colorimetry {
        range: input.pick(&[Range::Limited, Range::Full]),
        matrix: input.pick(&[Matrix::Bt601, Matrix::Bt709, Matrix::Bt2020]),
        transfer: input.pick(&[Transfer::Sdr, Transfer::Pq, Transfer::Hlg]),
    };
    let scan = input.pick(&[Scan::Progressive, Scan::TopFieldFirst, Scan::BottomFieldFirst]);
    let site = input.pick(&[ChromaSite::JPEG, ChromaSite::MPEG2, ChromaSite::COSITED]);
    let region = Rect::new(input.f32() * 50.0, input.f32() * 50.0, input.f32() * 60.0, input.f32() * 60.0);
    let spec = TensorSpec {
        layout: input.pick(&[Layout::Nchw, Layout::Nhwc]),
        width: 8 + input.below(24),
        height: 8 + input.below(24),
        channels: input.pick(&[Channels::Rgb, Channels::Bgr, Channels::Gray]),
        scale: 1.0 / 255.0,
        mean: [0.5; 3],
        std: [0.25; 3],
    };
    // Exactly what is needed, or anything else.
    let exact = input.byte() < 200 && [width, height].iter().all(|side| (1..=96).contains(side));
    let count = format.planes() + usize::from(input.byte() < 8);
    let memory: Vec<(Vec<u8>, usize)> = (0..count)
        .map(|plane| {
            let plane_of = plane.min(format.planes() - 1);
            if !exact {
                let stride = if input.byte() < 128 { input.below(400) } else { input.u64() as usize };
                return (fill(&mut input, 4096), stride);
            }
            let stride = format.row_bytes(plane_of, width) + input.below(9);
            let length = (format.rows(plane_of, height) - 1) * stride + format.row_bytes(plane_of, width);
            (fill(&mut input, length), stride)
        })
        .collect();
    let planes: Vec<_> = memory.iter().map(|(data, stride)| Plane { data, stride: *stride }).collect();
    match FrameView::new(format, width, height, colorimetry, scan, &planes) {
        Ok(view) => look(&view.with_chroma_site(site), &region, &spec),
        Err(error) => assert!(!exact || count > format.planes(), "{error}"),
    }
    gstreamer(&mut input, format, &region, &spec);
}

fn look(view: &FrameView<'_>, region: &Rect, spec: &TensorSpec) {
    let mut out = vec![f32::NAN; spec.len()];
    if Cropper::default().crop(view, region, spec, &mut out).is_ok() {
        assert!(out.iter().all(|v| v.is_finite() && v.abs() <= 2.01), "{region:?}");
    }
    let mut cuts = CutDetector::default();
    assert!(!cuts.is_cut(view), "the first frame begins no shot");
    assert!(!cuts.is_cut(view), "nor does the same again");
}

/// The same memory, seen as GStreamer's caps and a meta of anybody's say.
fn gstreamer(input: &mut Input<'_>, format: PixelFormat, region: &Rect, spec: &TensorSpec) {
    gst::init().expect("GStreamer starts");
    let format = VideoFormat::from_string(format.name());
    let (width, height) = (1 + input.below(96) as u32, 1 + input.below(96) as u32);
    let mode =
        input.pick(&[VideoInterlaceMode::Progressive, VideoInterlaceMode::Interleaved, VideoInterlaceMode::Mixed]);
    let Ok(info) = VideoInfo::builder(format, width, height).interlace_mode(mode).build() else { return };
    let Ok(caps) = FrameFormat::new(&info) else { return };
    let size = if input.byte() < 200 { info.size() } else { input.below(info.size() + 100) };
    let mut buffer = gst::Buffer::from_mut_slice(fill(input, size));
    if input.byte() < 128
        && let Some(header) = buffer.get_mut()
    {
        let planes = info.n_planes() as usize;
        let mut offsets = info.offset()[..planes].to_vec();
        let mut strides = info.stride()[..planes].to_vec();
        for plane in 0..planes {
            match input.byte() {
                0..32 => offsets[plane] = input.below(2 * size + 1),
                32..64 => strides[plane] = input.u32() as i32,
                64..96 => strides[plane] += input.below(64) as i32 - 32,
                _ => {}
            }
        }
        let (w, h) = if input.byte() < 32 { (input.u32() % 5000, input.u32() % 5000) } else { (width, height) };
        let format = if input.byte() < 16 { VideoFormat::Rgba } else { format };
        // The bindings hold the meta against its format, and refuse some.
        let _ = VideoMeta::add_full(header, VideoFrameFlags::empty(), format, w, h, &offsets, &strides);
    }
    let _ = caps.with_view(&buffer, |view| look(view, region, spec));
}

/// What is left of the input, again and again.
fn fill(input: &mut Input<'_>, length: usize) -> Vec<u8> {
    let some = input.bytes(64);
    if some.is_empty() { vec![0x80; length] } else { some.iter().copied().cycle().take(length).collect() }
}
