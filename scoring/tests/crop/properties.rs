//! What holds for every frame and region.

use deepfake_scoring::contract::{Channels, Layout};
use deepfake_scoring::crop::{Cropper, TensorSpec, reference};
use deepfake_scoring::frame::{ChromaSite, Colorimetry, FrameView, Matrix, PixelFormat, Plane, Range, Scan, Transfer};
use deepfake_scoring::geometry::Rect;
use proptest::prelude::*;
use proptest::sample::select;

/// A frame and its memory.
#[derive(Clone, Debug)]
pub(crate) struct Owned {
    pub(crate) format: PixelFormat,
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) colorimetry: Colorimetry,
    pub(crate) scan: Scan,
    pub(crate) site: ChromaSite,
    pub(crate) data: Vec<Vec<u8>>,
    pub(crate) strides: Vec<usize>,
}

impl Owned {
    pub(crate) fn with<T>(&self, f: impl FnOnce(&FrameView<'_>) -> T) -> T {
        let planes: Vec<Plane<'_>> =
            self.data.iter().zip(&self.strides).map(|(data, &stride)| Plane { data, stride }).collect();
        let view = FrameView::new(self.format, self.width, self.height, self.colorimetry, self.scan, &planes).unwrap();
        f(&view.with_chroma_site(self.site))
    }
}

fn format() -> impl Strategy<Value = PixelFormat> {
    select(PixelFormat::ALL.to_vec())
}

fn colorimetry() -> impl Strategy<Value = Colorimetry> {
    (
        select(vec![Range::Limited, Range::Full]),
        select(vec![Matrix::Bt601, Matrix::Bt709, Matrix::Bt2020]),
        prop_oneof![4 => Just(Transfer::Sdr), 1 => Just(Transfer::Pq), 1 => Just(Transfer::Hlg)],
    )
        .prop_map(|(range, matrix, transfer)| Colorimetry { range, matrix, transfer })
}

fn scan() -> impl Strategy<Value = Scan> {
    prop_oneof![3 => Just(Scan::Progressive), 1 => Just(Scan::TopFieldFirst), 1 => Just(Scan::BottomFieldFirst)]
}

/// Random bytes in planes of random strides, the last row cut short.
fn frame() -> impl Strategy<Value = Owned> {
    (format(), 1usize..70, 1usize..50, colorimetry(), scan(), any::<(bool, bool)>(), 0usize..9, any::<u64>()).prop_map(
        |(format, width, height, colorimetry, scan, (h, v), extra, seed)| {
            let mut state = seed | 1;
            let mut byte = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 56) as u8
            };
            let strides: Vec<usize> =
                (0..format.planes()).map(|p| format.row_bytes(p, width) + extra * (p + 1)).collect();
            let data = strides
                .iter()
                .enumerate()
                .map(|(p, stride)| {
                    let len = stride * (format.rows(p, height) - 1) + format.row_bytes(p, width);
                    (0..len).map(|_| byte()).collect()
                })
                .collect();
            let site = ChromaSite { horizontally_cosited: h, vertically_cosited: v };
            Owned { format, width, height, colorimetry, scan, site, data, strides }
        },
    )
}

/// From regions much smaller than a pixel to much larger than a frame, in and outside of it.
fn region() -> impl Strategy<Value = Rect> {
    let at = || prop_oneof![2 => -40.0f32..90.0, 1 => (-30i32..60).prop_map(|v| v as f32)];
    let side = || prop_oneof![2 => 0.01f32..140.0, 1 => (1i32..90).prop_map(|v| v as f32)];
    (at(), at(), side(), side()).prop_map(|(x, y, w, h)| Rect::new(x, y, w, h))
}

fn spec() -> impl Strategy<Value = TensorSpec> {
    (
        select(vec![Layout::Nchw, Layout::Nhwc]),
        1usize..40,
        1usize..30,
        select(vec![Channels::Rgb, Channels::Bgr, Channels::Gray]),
    )
        .prop_map(|(layout, width, height, channels)| TensorSpec {
            layout,
            width,
            height,
            channels,
            scale: 1.0 / 255.0,
            mean: [0.485, 0.456, 0.406],
            std: [0.9, 1.0, 1.1],
        })
}

pub(crate) fn crop(frame: &Owned, region: &Rect, spec: &TensorSpec) -> Vec<f32> {
    let mut out = vec![f32::NAN; spec.len()];
    frame.with(|view| Cropper::default().crop(view, region, spec, &mut out).unwrap());
    out
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_fast_one_is_the_plain_one(frame in frame(), region in region(), spec in spec()) {
        let mut plain = vec![0.0; spec.len()];
        frame.with(|view| reference::crop(view, &region, &spec, &mut plain).unwrap());
        let fast = crop(&frame, &region, &spec);
        for (i, (f, p)) in fast.iter().zip(&plain).enumerate() {
            prop_assert!((f - p).abs() < 1e-4, "{i}: {f} for {p}");
        }
    }
}
