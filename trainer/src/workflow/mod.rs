//! All of it, from faces to a model with its report: cut, zoo, localize, train, calibrate, export, evaluate, report.
//!
//! Every step is one of the commands, called as that command would call it, and is done only where something that it reads has changed
//! ([`steps`]). A call that was stopped goes on where it was.

mod steps;

use std::path::{Path, PathBuf};

use deepfake_scoring::runtime;
use rayon::prelude::*;
use serde::Serialize;
use serde_json::json;

use crate::checkpoint::RunFolder;
use crate::config::{Config, Contender, Regularization};
use crate::data::{self, Face, Part};
use crate::error::{Error, Result};
use crate::log::Log;
use crate::{calibrate, device, evaluate, export, faces, hash, localize, report, train, zoo};
use steps::{Place, Steps, joined};

/// Where the parts of a work folder lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    work: PathBuf,
}

impl Layout {
    /// Of the work folder `work`.
    pub fn new(work: &Path) -> Self {
        Self { work: work.to_owned() }
    }

    /// Faces that were cut, where the configuration has a table `faces`.
    pub fn faces(&self) -> PathBuf {
        self.work.join("faces")
    }

    /// The zoo's members, where primary regions are erased.
    pub fn zoo(&self) -> PathBuf {
        self.work.join("zoo")
    }

    /// Their maps.
    pub fn maps(&self) -> PathBuf {
        self.work.join("maps")
    }

    /// The run folder of the model itself.
    pub fn run(&self) -> PathBuf {
        self.work.join("train")
    }

    /// The ONNX file; variants lie beside it.
    pub fn model(&self) -> PathBuf {
        self.work.join("model.onnx")
    }

    /// For people: one HTML file.
    pub fn report(&self) -> PathBuf {
        self.work.join("report.html")
    }

    /// For whoever gets the model: Markdown.
    pub fn card(&self) -> PathBuf {
        self.work.join("card.md")
    }
}

/// Does all of it in the folder `work`.
///
/// # Errors
///
/// Whatever a step fails with; what was done before it stays.
pub fn run(config: &Config, work: &Path) -> Result<Layout> {
    // Exporting comes after hours of training: what it needs is asked for before.
    runtime::environment()?;
    let layout = Layout::new(work);
    let log = Log::new(&RunFolder::new(work)?)?;
    let (_, words) = device::choose(config.run.device)?;
    log.say(&format!("device: {words}"), json!({"event": "device", "device": words}));
    let mut steps = Steps::read(work, &log)?;

    let mut config = config.clone();
    if let Some(wish) = config.faces.clone() {
        let clips = data::sets::list(&config.data.sets)?;
        let videos = contents(clips.iter().map(|c| &c.path))?;
        let inputs = [videos, said(&wish)?, said(&config.data.sets)?, contents(&wish.face_model)?];
        steps.step("faces", &inputs.each_ref().map(String::as_str), Place::of(&["faces"]), || {
            faces::cut(&config, &layout.faces(), faces::Limits::default()).map(drop)
        })?;
        config = faces::applied(&config, &layout.faces());
    }
    let faces = data::faces(&config.data)?;
    let learned = joined([
        said(&faces.iter().map(about).collect::<Vec<_>>())?,
        contents(faces.iter().map(|f| &f.path))?,
        contents(&config.synthesize.face_model)?,
    ]);

    let mut maps = config.regularize.maps.as_deref().map(steps::hash_of).transpose()?.unwrap_or_default();
    if config.regularize.kind == Regularization::PrimaryRegions && config.regularize.maps.is_none() {
        let digests = config.zoo.members.iter().map(|m| m.config(&config).digest());
        let inits = contents(config.zoo.members.iter().filter_map(|m| m.init.as_ref()))?;
        let members = joined(digests.chain([inits]));
        let zoo = steps
            .step("zoo", &[&learned, &members], Place::of(&["zoo"]), || zoo::train(&config, &layout.zoo()).map(drop))?;
        let inputs = [&learned, &zoo, &said(&config.localize)?];
        maps = steps.step("localize", &inputs.map(String::as_str), Place::of(&["maps"]), || {
            localize::localize(&config, &layout.zoo(), &layout.maps()).map(drop)
        })?;
        config.regularize.maps = Some(layout.maps());
    }

    let init = contents(&config.model.init)?;
    let inputs = [&learned, &maps, &init, &config.digest()];
    let place = Place { own: &["train"], outputs: &["train/best.safetensors"] };
    let trained = steps.step("train", &inputs.map(String::as_str), place, || {
        train::train(&config, &layout.run(), train::Limits::default()).map(drop)
    })?;
    let run = RunFolder::open(&layout.run())?;
    let inputs = [&learned, &trained, &said(&config.calibrate)?];
    let calibrated =
        steps.step("calibrate", &inputs.map(String::as_str), Place::of(&["train/calibration.json"]), || {
            calibrate::calibrate_run(&run, Some(&config.calibrate)).map(drop)
        })?;

    let variants: Vec<String> = config.export.variants.iter().map(|v| format!("model.{v}.onnx")).collect();
    let files: Vec<&str> = std::iter::once("model.onnx").chain(variants.iter().map(String::as_str)).collect();
    let inputs = [&trained, &calibrated, &said(&(&config.name, &config.crop, &config.export, &config.provenance))?];
    let exported = steps.step("export", &inputs.map(String::as_str), Place::of(&files), || {
        let parity = export::export_run(&run, Some(&config), &layout.model())?;
        log.say(&format!("the file differs from the trainer by at most {parity}"), json!({"event": "parity"}));
        for made in export::variants(&run, &layout.model(), &config.export)? {
            log.say(&made.to_string(), json!({"event": "variant", "variant": made.variant.name()}));
        }
        Ok(())
    })?;

    let mut evaluated = String::new();
    if config.evaluate.sets.is_empty() {
        let text = "`evaluate.sets` names no set: the model is not measured, and gets no card";
        log.say(text, json!({"event": "not_evaluated"}));
    } else {
        let inputs = [exported.clone(), said(&config.evaluate)?, measured_with(&config)?];
        let place = Place::of(&["train/evaluation.json"]);
        evaluated = steps.step("evaluate", &inputs.each_ref().map(String::as_str), place, || {
            let model = Contender { name: config.name.clone(), file: layout.model(), contract: None };
            let found = evaluate::evaluate(&config.evaluate, &model, Some(&run))?;
            println!("{}", found.evaluation);
            Ok(())
        })?;
    }

    let card = (!evaluated.is_empty()).then(|| layout.card());
    let files: &[&str] = if card.is_some() { &["report.html", "card.md"] } else { &["report.html"] };
    let inputs = [&trained, &calibrated, &exported, &evaluated, &maps];
    steps.step("report", &inputs.map(String::as_str), Place::of(files), || {
        report::report(&run, None, Some(&layout.report()), card.as_deref())
    })?;
    Ok(layout)
}

/// A part of the configuration as text.
fn said(part: &impl Serialize) -> Result<String> {
    serde_json::to_string(part).map_err(|e| Error::Data(e.to_string()))
}

/// What is known of a face beside its picture.
fn about(face: &Face) -> impl Serialize {
    let Face { path: _, label, source, video, method, set, part, landmarks } = face;
    let landmarks = landmarks.map(|points| points.map(|p| [p.x, p.y]));
    (label.folder(), source, video, method, set, part.map(Part::name), landmarks)
}

/// One hash over what files hold, whatever they are called.
fn contents<'p>(files: impl IntoIterator<Item = &'p PathBuf>) -> Result<String> {
    let files: Vec<&PathBuf> = files.into_iter().collect();
    Ok(joined(files.into_par_iter().map(|f| hash::file(f)).collect::<Result<Vec<_>>>()?))
}

/// One hash over all files that the model is measured with.
fn measured_with(config: &Config) -> Result<String> {
    let table = &config.evaluate;
    let models = table.models.iter().flat_map(|m| std::iter::once(&m.file).chain(&m.contract));
    let sets = table.sets.iter().flat_map(|s| s.folders.iter().chain(s.sets.iter().map(|set| &set.root)));
    let all = sets.chain(models).chain(&table.face_model);
    Ok(joined(all.map(|path| steps::hash_of(path)).collect::<Result<Vec<_>>>()?))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use deepfake_scoring::geometry::Point;

    use super::{about, said};
    use crate::data::{Face, Label, Part};

    /// What is trained, split or cut by must make a finished step stale when it changes.
    #[test]
    fn all_that_is_known_of_a_face_counts_except_where_it_lies() {
        let face = Face::new(PathBuf::from("a.png"), Label::Fake, "a".to_owned(), "v".to_owned());
        let told = |face: &Face| said(&about(face)).unwrap();
        let changed: [fn(&mut Face); 7] = [
            |f| f.label = Label::Real,
            |f| f.source = "b".into(),
            |f| f.video = "w".into(),
            |f| f.method = "Deepfakes".into(),
            |f| f.set = "FaceForensics++".into(),
            |f| f.part = Some(Part::Test),
            |f| f.landmarks = Some([Point { x: 1.0, y: 2.0 }; 5]),
        ];
        for (index, change) in changed.iter().enumerate() {
            let mut other = face.clone();
            change(&mut other);
            assert_ne!(told(&other), told(&face), "change {index}");
        }
        let moved = Face { path: PathBuf::from("b.png"), ..face.clone() };
        assert_eq!(told(&moved), told(&face));
    }
}
