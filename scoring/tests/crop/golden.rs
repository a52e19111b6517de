//! Crops beside those of GStreamer's videoconvert with OpenCV's resize, and of NumPy. `golden/make.py` makes the files.

use std::path::Path;

use deepfake_scoring::contract::{Channels, Layout};
use deepfake_scoring::crop::{Cropper, TensorSpec};
use deepfake_scoring::frame::{ChromaSite, Colorimetry, FrameView, Matrix, PixelFormat, Plane, Range, Scan, Transfer};
use deepfake_scoring::geometry::Rect;
use serde_json::Value;

/// Mean difference that a crop may have, of 255. The reference clips each pixel to [0, 255] before it averages, this crate
/// afterwards; and it interpolates chroma in integers of the format's own depth.
const TOLERANCE: f64 = 2.0;

fn number(value: &Value) -> usize {
    value.as_u64().unwrap() as usize
}

#[test]
fn crops_are_those_of_gstreamer_and_opencv() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/crop/golden");
    let cases = std::fs::read_to_string(folder.join("cases.json")).unwrap();
    let cases: Vec<Value> = serde_json::from_str(&cases).unwrap();
    let mut seen = Vec::new();
    for case in &cases {
        let name = case["name"].as_str().unwrap();
        let open = |kind: &str| image::open(folder.join(format!("{name}.{kind}.png"))).unwrap();
        let bytes = open("frame").into_luma8().into_raw();
        let sheet = open("crops").into_rgb16();
        let format = PixelFormat::from_name(case["format"].as_str().unwrap()).unwrap();
        let colorimetry = Colorimetry {
            range: if case["range"] == "full" { Range::Full } else { Range::Limited },
            matrix: match case["matrix"].as_str().unwrap() {
                "bt601" => Matrix::Bt601,
                "bt2020" => Matrix::Bt2020,
                _ => Matrix::Bt709,
            },
            transfer: match case["transfer"].as_str().unwrap() {
                "pq" => Transfer::Pq,
                "hlg" => Transfer::Hlg,
                _ => Transfer::Sdr,
            },
        };
        let scan = match case["scan"].as_str().unwrap() {
            "top-field-first" => Scan::TopFieldFirst,
            "bottom-field-first" => Scan::BottomFieldFirst,
            _ => Scan::Progressive,
        };
        let planes: Vec<Plane<'_>> = case["planes"]
            .as_array()
            .unwrap()
            .iter()
            .map(|p| Plane { data: &bytes[number(&p["offset"])..], stride: number(&p["stride"]) })
            .collect();
        let frame = FrameView::new(format, number(&case["width"]), number(&case["height"]), colorimetry, scan, &planes)
            .unwrap()
            .with_chroma_site(if case["site"] == "mpeg2" { ChromaSite::MPEG2 } else { ChromaSite::JPEG });
        let mut top = 0;
        let mut worst: Vec<f64> = Vec::new();
        for crop in case["crops"].as_array().unwrap() {
            let region: Vec<f32> =
                crop["region"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap() as f32).collect();
            let (width, height) = (number(&crop["size"][0]), number(&crop["size"][1]));
            let spec = TensorSpec {
                layout: Layout::Nhwc,
                width,
                height,
                channels: Channels::Rgb,
                scale: 1.0,
                mean: [0.0; 3],
                std: [1.0; 3],
            };
            let mut out = vec![0.0; spec.len()];
            let region = Rect::new(region[0], region[1], region[2], region[3]);
            Cropper::default().crop(&frame, &region, &spec, &mut out).unwrap();
            let mut sum = 0.0;
            for (i, made) in out.iter().enumerate() {
                let (x, y, c) = (i / 3 % width, top + i / 3 / width, i % 3);
                let expected = f64::from(sheet.get_pixel(x as u32, y as u32).0[c]) / 257.0;
                sum += (f64::from(*made) - expected).abs();
            }
            top += height;
            worst.push(sum / out.len() as f64);
        }
        println!("{name:28} {} {} {} {worst:.3?}", case["range"], case["matrix"], case["scan"]);
        let most = worst.iter().copied().fold(0.0, f64::max);
        assert!(most <= TOLERANCE, "{name}: mean differences of {worst:.3?}");
        seen.push(format);
    }
    assert!(PixelFormat::ALL.iter().all(|f| seen.contains(f)), "a format without golden file");
}
