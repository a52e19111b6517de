//! How small faces in large frames are found: by looking at all of a larger picture, or by a search over several looks.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use deepfake_scoring::frame::FrameView;
use deepfake_scoring::geometry::Rect;
use deepfake_scoring::locate::search::Search;
use deepfake_scoring::locate::{Face, LocateOptions, Locator};
use deepfake_scoring::model::Model;
use deepfake_scoring::session::{Provider, SessionOptions};
use serde::Serialize;

use super::config::{Config, Scene as Wish};
use super::corpus::{self, Corpus};
use super::measure::{FOUND, NEAR};
use super::scene::{self, Painter, Scene};
use crate::data::Picture;
use crate::error::Result;
use crate::log;

/// Sides of the faces, pixels.
const FACES: [f64; 2] = [24.0, 48.0];
/// Half a frame: two scenes lie side by side, which is all that can be composed of 1920x1080.
const SIDE: usize = 960;
/// One frame for so many of the scenes that are measured with; each is a still that is looked at again and again.
const SCENES_A_FRAME: usize = 8;
/// Looks after which is told what was found up to then.
const LOOKS: [usize; 5] = [1, 5, 10, 20, 30];

/// What one way of looking finds.
#[derive(Clone, Debug, Serialize)]
pub struct Small {
    /// The way.
    pub way: String,
    /// Faces found in any of the first so many looks, of all faces.
    pub found: BTreeMap<usize, f64>,
    /// False boxes a look.
    pub false_boxes: f64,
    /// Median milliseconds a look on one thread.
    pub milliseconds: f64,
    /// Frames looked at.
    pub frames: usize,
}

/// Measures the locator in `model` on frames of 1920x960 with faces of 24 to 48 pixels, composed of held-out portraits.
///
/// # Errors
///
/// Files that cannot be read, a model that does not run.
pub fn measure(config: &Config, model: &Path, labels: &Path) -> Result<Vec<Small>> {
    let (_, portraits) = corpus::portraits(&config.data)?;
    let (_, videos) = corpus::videos(&config.data)?;
    let corpus = corpus::read(&config.data, &portraits, &videos, labels)?;
    if corpus.portraits.is_empty() {
        return Ok(Vec::new());
    }
    let wish = Wish { size: SIDE, faces: 5, face: FACES, ..config.scene.clone() };
    let mut painter = Painter::default();
    let frames = config.measure.scenes.div_ceil(SCENES_A_FRAME);
    let scenes = (0..frames).map(|i| wide(&mut painter, &corpus, &wish, i)).collect::<Result<Vec<_>>>()?;
    let model = Model::read(model)?;
    let mut all = Vec::new();
    for (side, search) in [(640, false), (1280, false), (1920, false), (640, true)] {
        let session = SessionOptions { provider: Provider::Cpu, ..SessionOptions::default() };
        let mut locator = Locator::new(&model, &session, LocateOptions { max_side: side, ..LocateOptions::default() })?;
        let way = if search { "search".to_owned() } else { format!("all of it at {side}") };
        all.push(look(&scenes, &mut locator, search, way)?);
    }
    Ok(all)
}

/// Two scenes side by side.
fn wide(painter: &mut Painter, corpus: &Corpus, wish: &Wish, index: usize) -> Result<Scene> {
    let mut left = scene::for_measuring(painter, corpus, wish, 2 * index)?;
    let right = scene::for_measuring(painter, corpus, wish, 2 * index + 1)?;
    let rows = left.picture.data.chunks_exact(3 * SIDE).zip(right.picture.data.chunks_exact(3 * SIDE));
    let data = rows.flat_map(|(a, b)| a.iter().chain(b).copied()).collect();
    left.picture = Picture { width: 2 * SIDE, height: SIDE, data };
    left.faces.extend(right.faces.into_iter().map(|mut face| {
        face.bbox.x += SIDE as f32;
        face
    }));
    Ok(left)
}

fn look(scenes: &[Scene], locator: &mut Locator, search: bool, way: String) -> Result<Small> {
    let bar = log::bar(scenes.len(), "looking for small faces");
    let (mut times, mut wrong, mut looks) = (Vec::new(), 0, 0);
    let (mut found, mut asked) = (BTreeMap::<usize, f64>::new(), 0);
    let mut boxes: Vec<Face> = Vec::new();
    for scene in scenes {
        let view = FrameView::rgb(scene.picture.width, scene.picture.height, &scene.picture.data)?;
        let mut state = Search::default();
        let mut known: Vec<Rect> = Vec::new();
        let mut seen = vec![false; scene.faces.len()];
        asked += scene.faces.iter().filter(|f| f.wanted).count();
        // What does not change from look to look is looked at once.
        let last = if search { LOOKS[LOOKS.len() - 1] } else { 1 };
        for number in 1..=last {
            let start = Instant::now();
            if search {
                state.look(locator, &view, FACES[0] as f32, known.iter().copied(), &mut boxes, None)?;
            } else {
                locator.locate(&view, &mut boxes)?;
            }
            times.push(start.elapsed().as_secs_f64() * 1e3);
            looks += 1;
            for one in &boxes {
                if scene.faces.iter().all(|f| f.bbox.iou(&one.bbox) < NEAR) {
                    wrong += 1;
                }
                if known.iter().all(|k| k.iou(&one.bbox) < NEAR) {
                    known.push(one.bbox);
                }
            }
            for (face, seen) in scene.faces.iter().zip(&mut seen) {
                *seen |= face.wanted && boxes.iter().any(|b| b.bbox.iou(&face.bbox) >= FOUND);
            }
            if LOOKS.contains(&number) {
                *found.entry(number).or_default() += seen.iter().filter(|s| **s).count() as f64;
            }
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    found.values_mut().for_each(|n| *n /= f64::from(u32::try_from(asked).unwrap_or(u32::MAX)).max(1.0));
    times.sort_by(f64::total_cmp);
    let milliseconds = times.get(times.len() / 2).copied().unwrap_or_default();
    Ok(Small {
        way,
        found,
        false_boxes: f64::from(wrong) / f64::from(looks.max(1)),
        milliseconds,
        frames: scenes.len(),
    })
}

/// The table of a card, Markdown.
pub(super) fn table(all: &[Small]) -> String {
    let Some(Small { frames, .. }) = all.first() else { return String::new() };
    let mut text = format!(
        "\nFaces of {} to {} px in {frames} composed frames of {}x{SIDE}, found after so many looks at the still frame:\n\n",
        FACES[0],
        FACES[1],
        2 * SIDE
    );
    let looks: Vec<String> = LOOKS.iter().map(|n| if *n == 1 { "1 look".to_owned() } else { n.to_string() }).collect();
    text.push_str(&format!("| way | {} | false boxes a look | ms a look |\n", looks.join(" | ")));
    text.push_str(&format!("|{}\n", " --- |".repeat(LOOKS.len() + 3)));
    for way in all {
        let share = |n: &usize| way.found.get(n).map_or_else(|| "-".to_owned(), |f| format!("{:.1} %", 100.0 * f));
        let shares: Vec<String> = LOOKS.iter().map(share).collect();
        let Small { way, false_boxes, milliseconds, .. } = way;
        text.push_str(&format!("| {way} | {} | {false_boxes:.3} | {milliseconds:.1} |\n", shares.join(" | ")));
    }
    text
}
