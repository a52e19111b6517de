//! How long a crop takes, beside the plain one. `cargo bench -p deepfake-scoring --bench crop [FORMAT]`

use std::hint::black_box;
use std::time::Instant;

use deepfake_scoring::contract::{Channels, Layout};
use deepfake_scoring::crop::{Cropper, TensorSpec, reference};
use deepfake_scoring::frame::{Colorimetry, FrameView, Matrix, PixelFormat, Plane, Range, Scan, Transfer};
use deepfake_scoring::geometry::Rect;

/// Milliseconds of the fastest and of the middle of `times` runs, after a few that do not count.
fn measure(times: usize, mut run: impl FnMut()) -> (f64, f64) {
    (0..times / 8 + 1).for_each(|_| run());
    let mut all: Vec<f64> = (0..times)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    all.sort_by(f64::total_cmp);
    (all[0], all[times / 2])
}

struct Case {
    name: &'static str,
    format: PixelFormat,
    region: Rect,
    size: (usize, usize),
    layout: Layout,
    colorimetry: Colorimetry,
    scan: Scan,
}

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let face = Case {
        name: "face 350 -> 224",
        format: PixelFormat::Nv12,
        region: Rect::new(700.4, 300.7, 350.0, 350.0),
        size: (224, 224),
        layout: Layout::Nchw,
        colorimetry: Colorimetry::BT709,
        scan: Scan::Progressive,
    };
    let mut cases: Vec<Case> = PixelFormat::ALL.into_iter().map(|format| Case { format, ..face }).collect();
    let pq = Colorimetry { range: Range::Limited, matrix: Matrix::Bt2020, transfer: Transfer::Pq };
    let hlg = Colorimetry { transfer: Transfer::Hlg, ..pq };
    cases.extend([
        Case { name: "face 400 -> 224", region: Rect::new(700.4, 300.7, 400.0, 400.0), ..face },
        Case { name: "face 90 -> 224", region: Rect::new(700.4, 300.7, 90.0, 90.0), ..face },
        Case { name: "face 900 -> 224", region: Rect::new(500.4, 100.7, 900.0, 900.0), ..face },
        Case { name: "face 350 -> 224 NHWC", layout: Layout::Nhwc, ..face },
        Case { name: "face 350 -> 224 field", scan: Scan::TopFieldFirst, ..face },
        Case { name: "face 350 -> 224 PQ", format: PixelFormat::P010Le, colorimetry: pq, ..face },
        Case { name: "face 350 -> 224 HLG", format: PixelFormat::P010Le, colorimetry: hlg, ..face },
    ]);
    for format in [PixelFormat::Nv12, PixelFormat::Rgb, PixelFormat::V210] {
        cases.push(Case {
            name: "frame -> 640x384",
            format,
            region: Rect::new(0.0, -36.0, 1920.0, 1152.0),
            size: (640, 384),
            ..face
        });
    }
    println!("{:24} {:10} {:>8} {:>8} {:>10} {:>7}", "1920x1080", "format", "best ms", "mid ms", "plain ms", "ratio");
    for case in cases {
        if !wanted.is_empty() && !wanted.iter().any(|w| w == case.format.name()) {
            continue;
        }
        let (width, height) = (1920, 1080);
        let data: Vec<Vec<u8>> = (0..case.format.planes())
            .map(|p| {
                let stride = case.format.row_bytes(p, width).next_multiple_of(128);
                (0..stride * case.format.rows(p, height)).map(|i| (i * i / 64 % 251) as u8).collect()
            })
            .collect();
        let planes: Vec<Plane<'_>> = data
            .iter()
            .enumerate()
            .map(|(p, data)| Plane { data, stride: case.format.row_bytes(p, width).next_multiple_of(128) })
            .collect();
        let frame = FrameView::new(case.format, width, height, case.colorimetry, case.scan, &planes).unwrap();
        let spec = TensorSpec {
            layout: case.layout,
            width: case.size.0,
            height: case.size.1,
            channels: Channels::Rgb,
            scale: 1.0 / 255.0,
            mean: [0.485, 0.456, 0.406],
            std: [0.229, 0.224, 0.225],
        };
        let mut out = vec![0.0; spec.len()];
        let mut cropper = Cropper::default();
        let (best, middle) = measure(400, || cropper.crop(&frame, &case.region, &spec, black_box(&mut out)).unwrap());
        let (plain, _) = measure(2, || reference::crop(&frame, &case.region, &spec, black_box(&mut out)).unwrap());
        println!(
            "{:24} {:10} {best:8.3} {middle:8.3} {plain:10.1} {:7.0}",
            case.name,
            case.format.name(),
            plain / best
        );
    }
}
