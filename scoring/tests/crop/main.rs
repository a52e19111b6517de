//! What a crop is, whatever computes it.

mod golden;
mod properties;

use deepfake_scoring::contract::{Channels, Layout};
use deepfake_scoring::crop::{Cropper, TensorSpec};
use deepfake_scoring::frame::FrameView;
use deepfake_scoring::geometry::Rect;

fn spec(width: usize, height: usize) -> TensorSpec {
    TensorSpec {
        layout: Layout::Nhwc,
        width,
        height,
        channels: Channels::Rgb,
        scale: 1.0,
        mean: [0.0; 3],
        std: [1.0; 3],
    }
}

#[test]
fn a_whole_picture_at_its_own_size_is_itself() {
    let pixels: Vec<u8> = (0..7 * 5 * 3).map(|i| (i * 37 % 256) as u8).collect();
    let frame = FrameView::rgb(7, 5, &pixels).unwrap();
    let mut out = vec![0.0; 7 * 5 * 3];
    Cropper::default().crop(&frame, &Rect::new(0.0, 0.0, 7.0, 5.0), &spec(7, 5), &mut out).unwrap();
    for (o, p) in out.iter().zip(&pixels) {
        assert!((o - f32::from(*p)).abs() < 1e-3, "{o} {p}");
    }
}

#[test]
fn halving_averages_four_pixels() {
    let pixels: Vec<u8> = (0..8 * 6 * 3).map(|i| (i * 91 % 256) as u8).collect();
    let frame = FrameView::rgb(8, 6, &pixels).unwrap();
    let mut out = vec![0.0; 4 * 3 * 3];
    Cropper::default().crop(&frame, &Rect::new(0.0, 0.0, 8.0, 6.0), &spec(4, 3), &mut out).unwrap();
    for y in 0..3 {
        for x in 0..4 {
            for c in 0..3 {
                let at = |dx: usize, dy: usize| f32::from(pixels[((2 * y + dy) * 8 + 2 * x + dx) * 3 + c]);
                let mean = (at(0, 0) + at(1, 0) + at(0, 1) + at(1, 1)) / 4.0;
                assert!((out[(y * 4 + x) * 3 + c] - mean).abs() < 1e-3);
            }
        }
    }
}
