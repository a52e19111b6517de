//! What is learned from: pictures in memory, with the faces that a teacher sees in them.

use std::path::{Path, PathBuf};

use deepfake_scoring::crop::Cropper;
use deepfake_scoring::frame::FrameView;
use deepfake_scoring::geometry::{Point, Rect};
use deepfake_scoring::locate::{Face, LocateOptions, Locator};
use deepfake_scoring::model::Model;
use deepfake_scoring::session::SessionOptions;
use rand::distr::weighted::WeightedIndex;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::config::Data;
use crate::checkpoint::write_atomically;
use crate::data::{Picture, has_extension, pictures_in};
use crate::error::{Error, Result};
use crate::hash;
use crate::log;
use crate::video::{self, EXTENSIONS};

/// The teacher's boxes count from this confidence on.
pub const SURE: f32 = 0.7;
/// Less sure ones from here on are neither face nor background: nothing is learned there.
const UNSURE: f32 = 0.3;

/// Around a portrait, in parts of its sides, so that a face that fills it is found.
const PADDING: f32 = 0.25;

/// A face as the teacher sees it, in pixels of its picture.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// x, y, width, height.
    pub bbox: [f32; 4],
    /// Of the teacher.
    pub confidence: f32,
    /// Right eye, left eye, nose, right and left corner of the mouth, where the teacher tells.
    pub landmarks: Option<[[f32; 2]; 5]>,
}

impl Seen {
    fn of(face: &Face, offset: Point, scale: f32) -> Self {
        let b = face.bbox;
        Self {
            bbox: [(b.x + offset.x) * scale, (b.y + offset.y) * scale, b.w * scale, b.h * scale],
            confidence: face.confidence,
            landmarks: face.landmarks.map(|l| l.map(|p| [(p.x + offset.x) * scale, (p.y + offset.y) * scale])),
        }
    }

    /// Its box.
    pub fn rect(&self) -> Rect {
        let [x, y, w, h] = self.bbox;
        Rect::new(x, y, w, h)
    }

    /// Whether the teacher is sure of it.
    pub fn sure(&self) -> bool {
        self.confidence >= SURE
    }
}

/// A picture and what is in it.
#[derive(Debug)]
pub struct Labelled {
    /// The pixels.
    pub picture: Picture,
    /// The faces, sure or not.
    pub faces: Vec<Seen>,
}

/// One file's labels, as kept on disk.
#[derive(Debug, Serialize, Deserialize)]
struct Labels {
    /// Of a portrait one list, of a video one a frame.
    frames: Vec<Vec<Seen>>,
}

/// Pictures with their faces.
#[derive(Debug, Default)]
pub struct Corpus {
    /// Of one face, which the teacher is sure of.
    pub portraits: Vec<Labelled>,
    /// Whole frames.
    pub frames: Vec<Labelled>,
    /// Draws one of `frames`, each face as likely as the next, so that a stage full of people counts for more than a speaker; a frame
    /// without faces counts as one face. `None` where there are no frames.
    pub by_face: Option<WeightedIndex<usize>>,
    /// SHA-256 over all of it: the files, what the teacher said of them, and the size at which frames are kept.
    pub digest: String,
}

/// The teacher, ready to look.
///
/// # Errors
///
/// A file that is no face detector.
pub fn teacher(data: &Data) -> Result<Locator> {
    let options = LocateOptions { confidence: UNSURE, max_side: data.teacher_side, ..LocateOptions::default() };
    Ok(Locator::new(&Model::read(&data.teacher)?, &SessionOptions::default(), options)?)
}

/// The portraits, sorted; those to learn from and those to measure with.
///
/// # Errors
///
/// A folder that cannot be read.
pub fn portraits(data: &Data) -> Result<(Vec<PathBuf>, Vec<PathBuf>)> {
    let mut all = Vec::new();
    for folder in &data.portraits {
        all.extend(pictures_in(folder)?);
    }
    if all.is_empty() && !data.portraits.is_empty() {
        return Err(Error::Data("the folders of `data.portraits` hold no pictures".to_owned()));
    }
    // By name: what is held out stays so when others come or go.
    let held = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let number = crate::seeded::mixed(0, &name, &[]);
        (number >> 11) as f64 / (1u64 << 53) as f64 <= data.held_out_share
    };
    Ok(all.into_iter().partition(|path| !held(path)))
}

/// The videos, sorted; those to learn from and those to measure with.
///
/// # Errors
///
/// A folder that cannot be read.
pub fn videos(data: &Data) -> Result<(Vec<PathBuf>, Vec<PathBuf>)> {
    let (mut learned, mut held_out) = (Vec::new(), Vec::new());
    for named in &data.videos {
        let mut all = Vec::new();
        collect(named, &mut all)?;
        for path in all {
            // Where all of it lies has no say in what is held out.
            let below = path.strip_prefix(named.parent().unwrap_or(named)).unwrap_or(&path).to_string_lossy();
            let held = data.held_out.iter().any(|word| below.contains(word.as_str()));
            if held { &mut held_out } else { &mut learned }.push(path);
        }
    }
    learned.sort();
    held_out.sort();
    Ok((learned, held_out))
}

fn collect(path: &Path, into: &mut Vec<PathBuf>) -> Result<()> {
    if path.is_file() {
        into.push(path.to_owned());
        return Ok(());
    }
    for entry in std::fs::read_dir(path).map_err(Error::io(path))? {
        let path = entry.map_err(Error::io(path))?.path();
        if path.is_dir() {
            collect(&path, into)?;
        } else if has_extension(&path, &EXTENSIONS) {
            into.push(path);
        }
    }
    Ok(())
}

/// Reads portraits and frames and has the teacher look at them; what it said is kept in `labels` and not asked for again.
///
/// # Errors
///
/// Files that cannot be read, a teacher that does not run.
pub fn read(data: &Data, portraits: &[PathBuf], videos: &[PathBuf], labels: &Path) -> Result<Corpus> {
    std::fs::create_dir_all(labels).map_err(Error::io(labels))?;
    let digest = hash::file(&data.teacher)?;
    let kept = |path: &Path, numbers: &[usize]| -> Result<PathBuf> {
        let name = format!("{digest} {} {numbers:?} {}", data.teacher_side, hash::file(path)?);
        Ok(labels.join(format!("{}.json", hash::hex(Sha256::digest(name)))))
    };
    // The names of the labels tell files, teacher and how it looked.
    let names =
        portraits.par_iter().map(|p| kept(p, &[])).chain(videos.par_iter().map(|v| kept(v, &[data.frames_per_video])));
    let names = names.collect::<Result<Vec<_>>>()?;
    let stems: Vec<_> = names.iter().filter_map(|n| n.file_stem()).map(|n| n.to_string_lossy()).collect();
    let all = hash::hex(Sha256::digest(format!("{} {}", data.frame_side, stems.join(" "))));
    let bar = log::bar(portraits.len() + videos.len(), "looking for faces");
    let (of_portraits, of_videos) = names.split_at(portraits.len());
    let found: Vec<Labelled> = portraits
        .par_iter()
        .zip(of_portraits)
        .map_init(
            || teacher(data),
            |teacher, (path, file)| {
                let picture = Picture::read(path)?;
                let told = recall(file)?;
                let faces = match told.and_then(|l| l.frames.into_iter().next()) {
                    Some(faces) => faces,
                    None => {
                        let faces = in_portrait(lent(teacher)?, &picture)?;
                        keep(file, &Labels { frames: vec![faces.clone()] })?;
                        faces
                    }
                };
                bar.inc(1);
                Ok(Labelled { picture, faces })
            },
        )
        .collect::<Result<_>>()?;
    let frames: Vec<Vec<Labelled>> = videos
        .par_iter()
        .zip(of_videos)
        .map_init(
            || teacher(data),
            |teacher, (path, file)| {
                let mut told = recall(file)?.map(|l| l.frames.into_iter());
                let mut labels = Labels { frames: Vec::new() };
                let mut frames = Vec::new();
                let mut cropper = Cropper::default();
                for frame in video::spread(path, data.frames_per_video, video::Options::default())? {
                    let frame = frame?;
                    let (width, height) = frame.size();
                    let faces = match told.as_mut().and_then(Iterator::next) {
                        Some(faces) => faces,
                        None => {
                            let mut faces = Vec::new();
                            frame.with_view(|view| lent(teacher)?.locate(view, &mut faces).map_err(Error::from))??;
                            faces.iter().map(|f| Seen::of(f, Point { x: 0.0, y: 0.0 }, 1.0)).collect()
                        }
                    };
                    labels.frames.push(faces.clone());
                    let scale = (data.frame_side as f32 / width.max(height) as f32).min(1.0);
                    let side = |n: usize| ((n as f32 * scale).round() as usize).max(1);
                    let whole = Rect::new(0.0, 0.0, width as f32, height as f32);
                    let picture = frame
                        .with_view(|view| Picture::cut(&mut cropper, view, &whole, side(width), side(height)))??;
                    let smaller = |face: Seen| Seen {
                        bbox: face.bbox.map(|v| v * scale),
                        landmarks: face.landmarks.map(|l| l.map(|p| p.map(|v| v * scale))),
                        ..face
                    };
                    frames.push(Labelled { picture, faces: faces.into_iter().map(smaller).collect() });
                }
                keep(file, &labels)?;
                bar.inc(1);
                Ok(frames)
            },
        )
        .collect::<Result<_>>()?;
    bar.finish_and_clear();
    let one = |l: &Labelled| l.faces.iter().filter(|f| f.sure()).count() == 1 && l.faces.len() == 1;
    let frames: Vec<Labelled> = frames.into_iter().flatten().collect();
    Ok(Corpus {
        portraits: found.into_iter().filter(one).collect(),
        by_face: WeightedIndex::new(frames.iter().map(|f| f.faces.len().max(1))).ok(),
        frames,
        digest: all,
    })
}

/// A worker's teacher; its error stands for each picture that it should have looked at.
fn lent(teacher: &mut Result<Locator>) -> Result<&mut Locator> {
    teacher.as_mut().map_err(|e| Error::Data(format!("the teacher: {e}")))
}

/// Looks at a portrait with some of its edge around it.
fn in_portrait(teacher: &mut Locator, picture: &Picture) -> Result<Vec<Seen>> {
    let view = FrameView::rgb(picture.width, picture.height, &picture.data)?;
    let (w, h) = (picture.width as f32, picture.height as f32);
    let region = Rect::new(-PADDING * w, -PADDING * h, w * (1.0 + 2.0 * PADDING), h * (1.0 + 2.0 * PADDING));
    let padded = Picture::cut(&mut Cropper::default(), &view, &region, region.w as usize, region.h as usize)?;
    let mut faces = Vec::new();
    teacher.locate(&FrameView::rgb(padded.width, padded.height, &padded.data)?, &mut faces)?;
    Ok(faces.iter().map(|f| Seen::of(f, Point { x: region.x, y: region.y }, 1.0)).collect())
}

fn recall(file: &Path) -> Result<Option<Labels>> {
    if !file.exists() {
        return Ok(None);
    }
    let text = std::fs::read_to_string(file).map_err(Error::io(file))?;
    serde_json::from_str(&text).map(Some).map_err(|e| Error::Data(format!("{}: {e}", file.display())))
}

fn keep(file: &Path, labels: &Labels) -> Result<()> {
    let text = serde_json::to_vec(labels).map_err(|e| Error::Data(e.to_string()))?;
    write_atomically(file, &text)
}
