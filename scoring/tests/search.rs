//! The bundled detector, and its search for small faces in large frames.

use deepfake_scoring::engine::{Engine, EngineOptions, FaceSource, Limits};
use deepfake_scoring::frame::{Colorimetry, FrameView, PixelFormat, Plane, Scan};
use deepfake_scoring::geometry::Rect;
use deepfake_scoring::locate::search::Search;
use deepfake_scoring::locate::{self, Face, LocateOptions, Locator};
use deepfake_scoring::session::SessionOptions;

mod drawn;
use drawn::Picture;
mod models;

const WIDTH: usize = 1920;
const HEIGHT: usize = 1080;
/// Of a drawn head, in pixels; the box of its face is somewhat smaller.
const HEAD: f32 = 40.0;
const SMALLEST: u32 = 24;
const PLACES: [(usize, usize); 3] = [(300, 200), (1200, 260), (1500, 900)];

/// Drawings are less of a face than faces are.
const OPTIONS: LocateOptions = LocateOptions { confidence: 0.6, iou: 0.3, max_side: 640 };

fn bundled() -> Locator {
    Locator::new(&locate::bundled().unwrap(), &SessionOptions::default(), OPTIONS).unwrap()
}

/// A large frame with small faces at these places.
fn frame(places: &[(usize, usize)]) -> Picture {
    const PATCH: usize = 64;
    let mut patch = Picture::new(PATCH, PATCH, 60);
    patch.face(PATCH as f32 / 2.0, PATCH as f32 / 2.0, HEAD);
    let mut all = Picture::new(WIDTH, HEIGHT, 60);
    for &(x, y) in places {
        for (row, line) in patch.pixels.chunks_exact(PATCH).enumerate() {
            let start = (y + row - PATCH / 2) * WIDTH + x - PATCH / 2;
            all.pixels[start..start + PATCH].copy_from_slice(line);
        }
    }
    all
}

fn view(picture: &Picture) -> FrameView<'_> {
    let planes = [Plane { data: &picture.pixels, stride: picture.width }];
    let (width, height) = (picture.width, picture.height);
    FrameView::new(PixelFormat::Gray8, width, height, Colorimetry::RGB, Scan::Progressive, &planes).unwrap()
}

fn is_at(bbox: &Rect, (x, y): (usize, usize)) -> bool {
    let centre = bbox.center();
    (centre.x - x as f32).hypot(centre.y - y as f32) < HEAD / 3.0
}

#[test]
fn the_bundled_detector_finds_drawn_faces_and_their_eyes() {
    for (width, height, faces) in [
        (320, 320, &[(160.0, 160.0, 200.0)][..]),
        (317, 243, &[(80.5, 120.0, 70.0), (230.0, 125.0, 90.0)]),
        (180, 320, &[(90.0, 150.0, 121.0)]),
        (320, 180, &[]),
    ] {
        let mut picture = Picture::new(width, height, 60);
        faces.iter().for_each(|&(x, y, size)| picture.face(x, y, size));
        let mut found = Vec::new();
        bundled().locate(&view(&picture), &mut found).unwrap();
        assert_eq!(found.len(), faces.len(), "{width}x{height}: {found:?}");
        for &(x, y, size) in faces {
            let near = |f: &&Face| (f.bbox.center().x - x).hypot(f.bbox.center().y - y) < size / 4.0;
            let face = found.iter().find(near).unwrap();
            let [right, left, nose, ..] = face.landmarks.unwrap();
            assert!(right.x < nose.x && nose.x < left.x && right.y < nose.y, "{face:?}");
        }
    }
}

#[test]
fn one_look_at_a_shrunk_frame_misses_small_faces_and_the_search_finds_them() {
    let picture = frame(&PLACES);
    let (mut locator, mut search, mut faces) = (bundled(), Search::default(), Vec::new());
    locator.locate(&view(&picture), &mut faces).unwrap();
    assert!(faces.len() < PLACES.len(), "{faces:?}");
    // Windows of 480x288 pixels that overlap by 48: 5 x 5, two a look.
    let mut found = [false; PLACES.len()];
    for _ in 0..13 {
        search.look(&mut locator, &view(&picture), SMALLEST as f32, std::iter::empty(), &mut faces, None).unwrap();
        for (place, found) in PLACES.into_iter().zip(&mut found) {
            *found |= faces.iter().any(|f| is_at(&f.bbox, place));
        }
        assert!(faces.iter().all(|f| PLACES.into_iter().any(|p| is_at(&f.bbox, p))), "{faces:?}");
    }
    assert_eq!(found, [true; PLACES.len()]);
}

#[test]
fn frames_that_lose_nothing_are_looked_at_once() {
    let picture = frame(&PLACES);
    let (mut locator, mut search, mut faces) = (bundled(), Search::default(), Vec::new());
    search.look(&mut locator, &view(&picture), 48.0, std::iter::empty(), &mut faces, None).unwrap();
    let everywhere = |side: f32| [0.0, 500.0, 1000.0].into_iter().all(|at| search.saw(&Rect::new(at, at, side, side)));
    assert!(everywhere(48.0) && everywhere(12.0));
}

#[test]
fn small_faces_that_are_found_stay_and_those_that_go_are_gone() {
    for detect_interval in [1, 3] {
        stay_and_go(detect_interval);
    }
}

fn stay_and_go(detect_interval: u32) {
    let mut options = EngineOptions { face_source: FaceSource::Detect, ..EngineOptions::default() };
    options.locate = OPTIONS;
    options.limits = Limits { min_face_size: SMALLEST, detect_interval, ..Limits::default() };
    let mut engine = Engine::new(&models::brightness(), options).unwrap();
    let picture = frame(&PLACES);
    let mut tracks = vec![vec![]; PLACES.len()];
    for _ in 0..80 * detect_interval {
        let faces = engine.process(&view(&picture), &[], None, None).unwrap();
        for (place, tracks) in PLACES.into_iter().zip(&mut tracks) {
            tracks.extend(faces.iter().filter(|f| is_at(&f.bbox, place) && f.outcome.is_ok()).map(|f| f.track));
        }
    }
    // Each was found within 25 looks, and from then on mostly listed, whether a look came by it or not: a drawing is missed by the
    // detector now and then. It stays one track.
    let first: Vec<_> = tracks.iter().map(|t| t.first().copied()).collect();
    for tracks in &tracks {
        assert!(
            tracks.len() >= 40 * detect_interval as usize && tracks.iter().all(|t| Some(t) == tracks.first()),
            "{tracks:?}"
        );
    }
    // One of them leaves.
    let picture = frame(&PLACES[..2]);
    for _ in 0..60 * detect_interval {
        engine.process(&view(&picture), &[], None, None).unwrap();
    }
    let left: Vec<_> = engine.faces().iter().map(|f| Some(f.track)).collect();
    assert!(left.len() == 2 && left.contains(&first[0]) && left.contains(&first[1]), "{left:?}");
}
