//! The built-in detector beside the one of the crate `rustface`, which reads the same model.

mod drawn;

use std::path::Path;

use deepfake_scoring::frame::{Colorimetry, FrameView, PixelFormat, Plane, Scan};
use deepfake_scoring::geometry::Rect;
use deepfake_scoring::locate::{Convention, Face, LocateOptions, Locator};
use drawn::Picture;
use proptest::prelude::*;

const MODEL: &[u8] = include_bytes!("../models/seeta_fd_frontal_v1.0.bin");

fn view(picture: &Picture) -> FrameView<'_> {
    let planes = [Plane { data: &picture.pixels, stride: picture.width }];
    let (width, height) = (picture.width, picture.height);
    FrameView::new(PixelFormat::Gray8, width, height, Colorimetry::RGB, Scan::Progressive, &planes).unwrap()
}

/// Tells all that it sees, as it draws it.
fn ours() -> Locator {
    let mut locator = Locator::seetaface(LocateOptions { confidence: 0.0, iou: 1.0, max_side: 640 }).unwrap();
    locator.set_convention(Convention::WIDER_FACE);
    locator
}

fn theirs() -> Box<dyn rustface::Detector> {
    let mut detector = rustface::create_detector_with_model(rustface::read_model(MODEL).unwrap());
    detector.set_score_thresh(1e-6);
    detector
}

/// Boxes in the order of their places.
fn boxes_of_both(picture: &Picture, ours: &mut Locator, theirs: &mut dyn rustface::Detector) -> [Vec<Rect>; 2] {
    let mut faces = Vec::new();
    ours.locate(&view(picture), &mut faces).unwrap();
    let image = rustface::ImageData::new(&picture.pixels, picture.width as u32, picture.height as u32);
    let reference = theirs.detect(&image).into_iter().map(|f| {
        let b = f.bbox();
        Rect::new(b.x() as f32, b.y() as f32, b.width() as f32, b.height() as f32)
    });
    let mut both = [faces.iter().map(|f| f.bbox).collect(), reference.collect::<Vec<_>>()];
    both.iter_mut().for_each(|b| b.sort_by(deepfake_scoring::geometry::by_place));
    both
}

/// Networks add in another order here: a pixel may be rounded the other way.
fn same(both: &[Vec<Rect>; 2]) -> bool {
    let [a, b] = both;
    let near = |a: &Rect, b: &Rect| [a.x - b.x, a.y - b.y, a.w - b.w, a.h - b.h].iter().all(|d| d.abs() <= 1.0);
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| near(a, b))
}

#[test]
fn drawn_faces_are_found_where_rustface_finds_them() {
    let (mut ours, mut theirs) = (ours(), theirs());
    for (width, height, faces) in [
        (320, 320, &[(160.0, 160.0, 200.0)][..]),
        (317, 243, &[(80.5, 120.0, 70.0), (230.0, 125.0, 90.0)]),
        (180, 320, &[(90.0, 150.0, 121.0)]),
        (320, 180, &[]),
    ] {
        let mut picture = Picture::new(width, height, 60);
        faces.iter().for_each(|&(x, y, size)| picture.face(x, y, size));
        let both = boxes_of_both(&picture, &mut ours, &mut *theirs);
        assert!(same(&both) && both[0].len() == faces.len(), "{width}x{height}: {both:?}");
        for (x, y, size) in faces {
            let near = |b: &&Rect| (b.center().x - x).hypot(b.center().y - y) < size / 4.0;
            assert_eq!(both[0].iter().filter(near).count(), 1, "the face at ({x}, {y})");
        }
    }
}

#[test]
fn faces_of_people_are_found_where_rustface_finds_them() {
    let folder = Path::new("../../shared/data/faces/portraits");
    let Ok(entries) = std::fs::read_dir(folder) else {
        println!("skipped: {} is absent", folder.display());
        return;
    };
    let mut paths: Vec<_> = entries.map(|e| e.unwrap().path()).collect();
    paths.sort();
    let (mut ours, mut theirs) = (ours(), theirs());
    let (mut pictures, mut faces, mut alike) = (0, 0, 0);
    for path in paths.iter().step_by(60) {
        let Ok(picture) = image::open(path) else { continue };
        let picture = picture.resize_exact(160, 160, image::imageops::FilterType::Triangle).to_luma8();
        // With room around it: `rustface` moves windows that leave the picture.
        let mut canvas = Picture::new(320, 320, 60);
        for (row, pixels) in picture.rows().enumerate() {
            for (column, pixel) in pixels.enumerate() {
                canvas.pixels[(row + 80) * 320 + column + 80] = pixel.0[0];
            }
        }
        let both = boxes_of_both(&canvas, &mut ours, &mut *theirs);
        pictures += 1;
        faces += both[1].len();
        alike += usize::from(same(&both));
    }
    println!("{alike} of {pictures} pictures alike, {faces} faces");
    assert!(faces * 2 > pictures && alike * 100 >= pictures * 95, "{alike} of {pictures}, {faces} faces");
}

fn check(faces: &[Face], picture: &Picture) {
    for f in faces {
        let c = f.bbox.center();
        let inside = (0.0..=picture.width as f32).contains(&c.x) && (0.0..=picture.height as f32).contains(&c.y);
        assert!(f.bbox.is_valid() && inside && (0.0..=1.0).contains(&f.confidence), "{f:?}");
    }
}

#[test]
fn faces_that_the_border_cuts_are_looked_at() {
    let (mut ours, mut faces) = (ours(), Vec::new());
    for (x, y) in [(0.0, 80.0), (160.0, 80.0), (80.0, 0.0), (80.0, 160.0), (40.0, 40.0), (125.0, 120.0)] {
        let mut picture = Picture::new(160, 160, 60);
        picture.face(x, y, 150.0);
        ours.locate(&view(&picture), &mut faces).unwrap();
        check(&faces, &picture);
    }
}

#[test]
fn tiny_and_narrow_frames_are_looked_at() {
    let (mut ours, mut faces) = (ours(), Vec::new());
    for (width, height) in [(1, 1), (39, 40), (40, 40), (41, 2000), (3000, 5), (640, 41)] {
        let picture = Picture::new(width, height, 200);
        ours.locate(&view(&picture), &mut faces).unwrap();
        assert!(faces.is_empty(), "{width}x{height}: {faces:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn no_picture_breaks_it(
        (width, height) in (1..140usize, 1..140usize),
        cell in 1..24usize,
        levels in proptest::collection::vec(any::<u8>(), 64),
        face in proptest::option::of((-40.0..180f32, -40.0..180f32, 10.0..400f32)),
    ) {
        let mut picture = Picture::new(width, height, 0);
        for (i, pixel) in picture.pixels.iter_mut().enumerate() {
            let (x, y) = (i % width / cell, i / width / cell);
            *pixel = levels[(x * 7 + y * 13) % levels.len()];
        }
        if let Some((x, y, size)) = face {
            picture.face(x, y, size);
        }
        let mut faces = Vec::new();
        ours().locate(&view(&picture), &mut faces).unwrap();
        check(&faces, &picture);
    }
}
