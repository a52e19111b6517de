//! Somebody else's model, with somebody else's conventions.

use deepfake_scoring::contract::{Channels, Layout};
use deepfake_scoring::crop::{Cropper, TensorSpec};
use deepfake_scoring::frame::FrameView;
use deepfake_scoring::geometry::Rect;
use deepfake_tests::{peer, scores_of, shared};

/// Meso4: NHWC, RGB in [0, 1], probability of *real*, no map, no metadata.
const MESO4: &str = "
    [input]
    layout = \"NHWC\"
    [crop]
    margin = 0.15
    [output]
    probability = \"OUTPUT\"
    of = \"real\"
";

#[test]
fn meso4_scores_as_a_plain_script_does_on_the_same_crops() {
    let Some(model) = shared("models/meso4_df.onnx") else { return };
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    // Pictures of several kinds: noise, gradients, stripes.
    let side = 256;
    let count = 4;
    for n in 0..count {
        let picture = image::RgbImage::from_fn(300, 300, |x, y| {
            let v = |k: u32| ((x * (n + 1) + y * k * 3 + (x * y * n) / 7) % 256) as u8;
            image::Rgb([v(1), v(2), v(3)])
        });
        picture.save(at(&format!("{n}.png"))).unwrap();
    }
    let spec = TensorSpec {
        layout: Layout::Nhwc,
        width: side,
        height: side,
        channels: Channels::Rgb,
        scale: 1.0 / 255.0,
        mean: [0.0; 3],
        std: [1.0; 3],
    };
    let mut crops = vec![];
    for n in 0..count {
        let picture = image::open(at(&format!("{n}.png"))).unwrap().into_rgb8();
        let view = FrameView::rgb(300, 300, &picture).unwrap();
        let mut crop = vec![0.0; spec.len()];
        Cropper::default().crop(&view, &Rect::new(0.0, 0.0, 300.0, 300.0), &spec, &mut crop).unwrap();
        crops.extend(crop.iter().flat_map(|v| v.to_le_bytes()));
    }
    std::fs::write(at("crops"), crops).unwrap();
    let Some(expected) = peer("meso4.py", &[&model.display().to_string(), &at("crops")]) else { return };

    let scored = deepfake_scoring::model::Model::read(&model).unwrap();
    let options = deepfake_scoring::session::SessionOptions::default();
    let session = deepfake_scoring::session::Session::new(&scored, &options).unwrap();
    std::fs::write(at("meso4.toml"), MESO4.replace("OUTPUT", &session.outputs()[0].name)).unwrap();
    for n in 0..count as usize {
        let scores = scores_of(&format!(
            "filesrc location={} ! pngdec ! deepfakescore face-source=frame model={} model-config={} ! fakesink name=out",
            at(&format!("{n}.png")),
            model.display(),
            at("meso4.toml"),
        ));
        let scores = scores.unwrap();
        let face = scores[0].faces[0].outcome.as_ref().unwrap();
        assert!(face.map.is_none());
        let real = expected[n].as_f64().unwrap();
        assert!((face.frame_score - (1.0 - real)).abs() < 1e-4, "{n}: {} {real}", face.frame_score);
    }
}
