//! The making of the face locator: scenes of faces whose places a teacher tells, a small network that learns to tell them, its ONNX file
//! and how it compares.

pub mod config;
pub mod corpus;
pub mod learn;
pub mod loss;
pub mod measure;
pub mod scene;
pub mod small;
pub mod target;

use std::path::{Path, PathBuf};

pub use config::Config;

use crate::checkpoint::write_atomically;
use crate::error::{Error, Result};
use crate::export;
use crate::seeded;
use measure::Measured;
use scene::Painter;
use serde::Serialize;
use small::Small;

/// Where its parts lie in a work folder.
#[derive(Clone, Debug)]
pub struct Layout {
    work: PathBuf,
}

impl Layout {
    /// In that folder.
    pub fn new(work: &Path) -> Self {
        Self { work: work.to_owned() }
    }

    /// What the teacher said.
    pub fn labels(&self) -> PathBuf {
        self.work.join("labels")
    }

    /// The run folder.
    pub fn train(&self) -> PathBuf {
        self.work.join("train")
    }

    /// Scenes with the faces that are to be found, for people to look at.
    pub fn sheet(&self) -> PathBuf {
        self.work.join("scenes.png")
    }

    /// The model.
    pub fn model(&self) -> PathBuf {
        self.work.join("locator.onnx")
    }

    /// What was measured.
    pub fn measured(&self) -> PathBuf {
        self.work.join("measured.json")
    }
}

/// Labels, trains (going on where it was stopped) and exports; does nothing of it that is done. `None` where `stop_after` steps came first.
///
/// # Errors
///
/// Whatever a step fails with; what was done before it stays.
pub fn make(config: &Config, work: &Path, stop_after: Option<usize>) -> Result<Option<PathBuf>> {
    let layout = Layout::new(work);
    let (portraits, _) = corpus::portraits(&config.data)?;
    let (videos, _) = corpus::videos(&config.data)?;
    let corpus = corpus::read(&config.data, &portraits, &videos, &layout.labels())?;
    let faces: usize = corpus.frames.iter().map(|f| f.faces.iter().filter(|f| f.sure()).count()).sum();
    tracing::info!(
        "{} of {} portraits with one face, {} frames of {} videos with {faces} faces",
        corpus.portraits.len(),
        portraits.len(),
        corpus.frames.len(),
        videos.len()
    );
    if corpus.portraits.is_empty() && faces == 0 {
        return Err(Error::Data("the teacher finds no face in what there is to learn from".to_owned()));
    }
    draw(config, &corpus, &layout.sheet())?;
    let Some((net, params)) = learn::learn(config, &corpus, &layout.train(), stop_after)? else {
        return Ok(None);
    };
    let mut metadata: std::collections::BTreeMap<String, String> =
        config.provenance.iter().map(|(k, v)| (format!("provenance.{k}"), v.clone())).collect();
    metadata.insert("provenance.name".to_owned(), config.name.clone());
    metadata.insert("provenance.config".to_owned(), config.digest());
    let worst = export::export_locator(&net, &params, metadata, &layout.model())?;
    tracing::info!("{}: differs from the trainer by {worst:.1e}", layout.model().display());
    Ok(Some(layout.model()))
}

/// What was measured of a locator.
#[derive(Clone, Debug, Serialize)]
pub struct Measurements {
    /// It, the teacher, the rivals and the one that the engine is built with.
    pub locators: Vec<Measured>,
    /// How it finds small faces in large frames.
    pub small: Vec<Small>,
}

impl Measurements {
    /// As tables of a card, Markdown.
    pub fn tables(&self) -> String {
        measure::table(&self.locators) + &small::table(&self.small)
    }
}

/// [`measure::measure`] and [`small::measure`] of the work folder's model; kept there.
///
/// # Errors
///
/// As there; a folder without a model.
pub fn measured(config: &Config, work: &Path) -> Result<Measurements> {
    let layout = Layout::new(work);
    let locators = measure::measure(config, &layout.model(), &layout.labels())?;
    let small = small::measure(config, &layout.model(), &layout.labels())?;
    let all = Measurements { locators, small };
    let text = serde_json::to_vec_pretty(&all).map_err(|e| Error::Data(e.to_string()))?;
    write_atomically(&layout.measured(), &text)?;
    Ok(all)
}

/// Draws some scenes with their boxes.
fn draw(config: &Config, corpus: &corpus::Corpus, path: &Path) -> Result<()> {
    const SCENES: u64 = 24;
    let mut sheet = crate::sheet::Sheet::new(config.scene.size, 6);
    let mut painter = Painter::default();
    for index in 0..SCENES {
        let mut rng = seeded::generator(config.seed, "scene", &[0, index]);
        let mut scene = painter.scene(corpus, &config.scene, &mut rng)?;
        for face in &scene.faces {
            let colour = if face.wanted { [0, 255, 0] } else { [255, 160, 0] };
            outline(&mut scene.picture, &face.bbox, colour);
        }
        sheet.push(&scene.picture)?;
    }
    sheet.write(path)
}

/// One pixel wide, where it lies within the picture.
fn outline(picture: &mut crate::data::Picture, rect: &deepfake_scoring::geometry::Rect, colour: [u8; 3]) {
    let (w, h) = (picture.width, picture.height);
    let mut set = |x: f32, y: f32| {
        if x >= 0.0 && y >= 0.0 && (x as usize) < w && (y as usize) < h {
            picture.data[(y as usize * w + x as usize) * 3..][..3].copy_from_slice(&colour);
        }
    };
    let steps = |from: f32, to: f32| (from.max(-1.0) as i64..=to.min(1e4) as i64).map(|v| v as f32);
    for x in steps(rect.x, rect.right()) {
        set(x, rect.y);
        set(x, rect.bottom());
    }
    for y in steps(rect.y, rect.bottom()) {
        set(rect.x, y);
        set(rect.right(), y);
    }
}
