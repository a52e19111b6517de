//! What the network learns from: pictures of one size with faces whose places are known, drawn anew each time.
//!
//! A scene is a part of a frame, cut so that a face in it gets the size that was drawn, or it is composed: portraits, turned, mirrored
//! and lit, on a piece of a frame that shows no face.

use deepfake_scoring::crop::Cropper;
use deepfake_scoring::frame::FrameView;
use deepfake_scoring::geometry::{Point, Rect};
use image::RgbImage;
use image::imageops::interpolate_bilinear;
use rand::RngExt;
use rand::distr::Distribution;
use rand_pcg::Pcg64Mcg;

use super::config::Scene as Wish;
use super::corpus::{Corpus, Labelled, Seen};
use crate::augment;
use crate::data::Picture;
use crate::error::{Error, Result};
use crate::seeded::{self, between};

/// A face of a scene.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Target {
    /// In pixels of the scene.
    pub bbox: Rect,
    /// Where they are known and can be seen.
    pub landmarks: Option<[Point; 5]>,
    /// To be found; where not, nothing is learned there: too small, hardly visible, or the teacher is not sure.
    pub wanted: bool,
}

/// A picture and the faces in it.
#[derive(Debug)]
pub struct Scene {
    /// R'G'B', of the wished side.
    pub picture: Picture,
    /// The faces.
    pub faces: Vec<Target>,
}

/// Faces whose sides' geometric mean is below this part of the smallest wished size are not asked for.
const SMALLEST: f32 = 0.8;

/// How much of a face must be in the picture.
const VISIBLE: f32 = 0.6;

/// Nothing is enlarged more than this.
const LARGEST_SCALE: f64 = 2.0;

/// Tries for a piece of a frame without a face.
const TRIES: usize = 12;

/// Overlap (intersection over union) of composed faces that is let pass.
const OVERLAP: f32 = 0.05;

/// Draws scenes; keeps its scratch memory.
#[derive(Debug, Default)]
pub struct Painter {
    cropper: Cropper,
}

impl Painter {
    /// The scene of a number.
    ///
    /// # Errors
    ///
    /// When a region cannot be cut.
    pub fn scene(&mut self, corpus: &Corpus, wish: &Wish, rng: &mut Pcg64Mcg) -> Result<Scene> {
        let mut scene = match &corpus.by_face {
            Some(by_face) if corpus.portraits.is_empty() || !rng.random_bool(wish.composed) => {
                let frame = &corpus.frames[by_face.sample(rng)];
                self.part(frame, wish, rng)?
            }
            _ => self.composed(corpus, wish, rng)?,
        };
        if rng.random_bool(0.5) {
            mirror(&mut scene);
        }
        Ok(scene)
    }

    /// A part of a frame.
    fn part(&mut self, frame: &Labelled, wish: &Wish, rng: &mut Pcg64Mcg) -> Result<Scene> {
        let (w, h) = (frame.picture.width as f64, frame.picture.height as f64);
        let drawn = size(wish, rng);
        let scale = match frame.faces.len() {
            0 => between(rng, [0.3, 1.0]),
            n => drawn / side(&frame.faces[rng.random_range(0..n)].rect()),
        };
        // Not so small that the frame becomes a stamp.
        let least = wish.size as f64 / w.max(h) * 0.5;
        let scale = scale.clamp(least.min(LARGEST_SCALE), LARGEST_SCALE);
        let aspect = between(rng, [-0.08, 0.08]).exp();
        let (rw, rh) = (wish.size as f64 / (scale * aspect), wish.size as f64 / (scale / aspect));
        let (cx, cy) = match frame.faces.len() {
            0 => (rng.random::<f64>() * w, rng.random::<f64>() * h),
            n => {
                let face = frame.faces[rng.random_range(0..n)].rect().center();
                let (dx, dy) = (between(rng, [-0.45, 0.45]), between(rng, [-0.45, 0.45]));
                (f64::from(face.x) + dx * rw, f64::from(face.y) + dy * rh)
            }
        };
        // Most of it lies within the frame: what repeats the frame's edge teaches little.
        let within = |c: f64, part: f64, whole: f64| {
            let reach = part.min(whole) / 2.0 - 0.1 * part;
            if reach <= 0.0 { whole / 2.0 } else { c.clamp(reach.min(whole - reach), reach.max(whole - reach)) }
        };
        let (cx, cy) = (within(cx, rw, w), within(cy, rh, h));
        let region = Rect::new((cx - rw / 2.0) as f32, (cy - rh / 2.0) as f32, rw as f32, rh as f32);
        let picture = self.cut(&frame.picture, &region, wish.size, wish.size)?;
        let (sx, sy) = (wish.size as f32 / region.w, wish.size as f32 / region.h);
        let place = |p: Point| Point { x: (p.x - region.x) * sx, y: (p.y - region.y) * sy };
        let faces = frame.faces.iter().filter_map(|face| target(face, place, (sx, sy), 0.0, wish)).collect();
        Ok(Scene { picture, faces })
    }

    /// Portraits on a piece of a frame.
    fn composed(&mut self, corpus: &Corpus, wish: &Wish, rng: &mut Pcg64Mcg) -> Result<Scene> {
        let picture = self.backdrop(corpus, wish, rng)?;
        let mut scene = Scene { picture, faces: Vec::new() };
        let mut taken: Vec<Rect> = Vec::new();
        for _ in 0..rng.random_range(0..=wish.faces) {
            let portrait = &corpus.portraits[rng.random_range(0..corpus.portraits.len())];
            let drawn = size(wish, rng);
            let face = portrait.faces[0].rect();
            let scale = (drawn / side(&face)).min(LARGEST_SCALE);
            let turn = between(rng, [-wish.turn, wish.turn]).to_radians();
            let at = Point {
                x: (rng.random::<f64>() * wish.size as f64) as f32,
                y: (rng.random::<f64>() * wish.size as f64) as f32,
            };
            let spot = Rect::around(at, face.w * scale as f32, face.h * scale as f32);
            // Room for the hair as well.
            let room = spot.grown(0.35 * spot.w.max(spot.h));
            let free = taken.iter().all(|other| other.iou(&room) <= OVERLAP);
            let light = between(rng, [0.6, 1.3]) as f32;
            let feather = between(rng, [0.05, 0.5]) as f32;
            let oval = rng.random_bool(0.6);
            if !free {
                continue;
            }
            taken.push(room);
            let how = Paste { scale: scale as f32, turn: turn as f32, at, light, feather, oval };
            self.paste(portrait, &how, &mut scene, wish)?;
        }
        Ok(scene)
    }

    /// A piece of a frame without a face, now and then a plain colour that fades into another.
    fn backdrop(&mut self, corpus: &Corpus, wish: &Wish, rng: &mut Pcg64Mcg) -> Result<Picture> {
        let n = corpus.frames.len();
        for _ in 0..if n == 0 { 0 } else { TRIES } {
            let frame = &corpus.frames[rng.random_range(0..n)];
            let (w, h) = (frame.picture.width as f64, frame.picture.height as f64);
            let part = between(rng, [0.2, 1.0]) * w.min(h);
            let x = rng.random::<f64>() * (w - part);
            let y = rng.random::<f64>() * (h - part);
            let region = Rect::new(x as f32, y as f32, part as f32, part as f32);
            if frame.faces.iter().all(|f| f.rect().intersection(&region).is_none()) {
                return self.cut(&frame.picture, &region, wish.size, wish.size);
            }
        }
        let colour = |rng: &mut Pcg64Mcg| -> [f32; 3] { std::array::from_fn(|_| rng.random_range(0.0..255.0)) };
        let (from, to) = (colour(rng), colour(rng));
        let side = wish.size;
        let mut data = Vec::with_capacity(side * side * 3);
        for y in 0..side {
            for x in 0..side {
                let t = (x + y) as f32 / (2 * side) as f32;
                data.extend(from.iter().zip(to).map(|(a, b)| (a + (b - a) * t) as u8));
            }
        }
        Ok(Picture { width: side, height: side, data })
    }

    fn paste(&mut self, portrait: &Labelled, how: &Paste, scene: &mut Scene, wish: &Wish) -> Result<()> {
        let source = &portrait.picture;
        // First to the size that it will have, by the engine's cropper, which takes all pixels into account; then it is only turned.
        let whole = Rect::new(0.0, 0.0, source.width as f32, source.height as f32);
        let [w, h] = [source.width, source.height].map(|n| ((n as f32 * how.scale).round() as usize).max(4));
        let small = self.cut(source, &whole, w, h)?;
        let small = RgbImage::from_raw(w as u32, h as u32, small.data)
            .ok_or_else(|| Error::Data("a portrait of the wrong size".to_owned()))?;
        let (sx, sy) = (w as f32 / source.width as f32, h as f32 / source.height as f32);
        let face = portrait.faces[0].rect().scaled(sx, sy);
        let centre = face.center();
        let (sin, cos) = how.turn.sin_cos();
        // How far the patch reaches from the face's centre: where the portrait ends or, as an oval, around the head.
        let reach = (w.max(h) as f32) * 1.5;
        let size = wish.size as f32;
        let from = |v: f32| (v - reach).clamp(0.0, size) as usize;
        let to = |v: f32| (v + reach).clamp(0.0, size) as usize;
        let soft = (how.feather * face.w.min(face.h)).max(1.0);
        for y in from(how.at.y)..to(how.at.y) {
            for x in from(how.at.x)..to(how.at.x) {
                let (dx, dy) = (x as f32 + 0.5 - how.at.x, y as f32 + 0.5 - how.at.y);
                let (u, v) = (centre.x + cos * dx + sin * dy, centre.y - sin * dx + cos * dy);
                let edge = u.min(w as f32 - u).min(v).min(h as f32 - v);
                let mut cover = (edge / soft).clamp(0.0, 1.0);
                if how.oval {
                    let (ex, ey) = ((u - centre.x) / (0.85 * face.w), (v - centre.y + 0.1 * face.h) / (0.9 * face.h));
                    let inside = (1.0 - ex.hypot(ey)) * face.w / soft + 0.5;
                    cover = cover.min(inside.clamp(0.0, 1.0));
                }
                if cover <= 0.0 {
                    continue;
                }
                // The library's (0, 0) is the centre of the first pixel; edges are repeated.
                let (u, v) = ((u - 0.5).clamp(0.0, (w - 1) as f32), (v - 0.5).clamp(0.0, (h - 1) as f32));
                let Some(colour) = interpolate_bilinear(&small, u, v) else { continue };
                let pixel = &mut scene.picture.data[(y * wish.size + x) * 3..][..3];
                for (under, over) in pixel.iter_mut().zip(colour.0) {
                    let over = (f32::from(over) * how.light).min(255.0);
                    *under = (f32::from(*under) * (1.0 - cover) + over * cover).round() as u8;
                }
            }
        }
        let place = |p: Point| {
            let (dx, dy) = (p.x * sx - centre.x, p.y * sy - centre.y);
            Point { x: how.at.x + cos * dx - sin * dy, y: how.at.y + sin * dx + cos * dy }
        };
        scene.faces.extend(target(&portrait.faces[0], place, (sx, sy), how.turn, wish));
        Ok(())
    }

    fn cut(&mut self, picture: &Picture, region: &Rect, width: usize, height: usize) -> Result<Picture> {
        let frame = FrameView::rgb(picture.width, picture.height, &picture.data)?;
        Picture::cut(&mut self.cropper, &frame, region, width, height)
    }
}

/// How a portrait is put on a scene.
struct Paste {
    scale: f32,
    /// Radians.
    turn: f32,
    /// Where the centre of the face comes to lie.
    at: Point,
    light: f32,
    /// Width of the soft edge in parts of the face.
    feather: f32,
    oval: bool,
}

/// The face as the scene has it; `None` where it is outside. A turned face's box is the upright one around its turned ellipse.
fn target(face: &Seen, place: impl Fn(Point) -> Point, (sx, sy): (f32, f32), turn: f32, wish: &Wish) -> Option<Target> {
    let rect = face.rect();
    let centre = place(rect.center());
    let (w, h) = (rect.w * sx, rect.h * sy);
    let (sin, cos) = turn.sin_cos();
    let (bw, bh) = ((w * cos).hypot(h * sin), (w * sin).hypot(h * cos));
    let bbox = Rect::around(centre, bw, bh);
    let all = Rect::new(0.0, 0.0, wish.size as f32, wish.size as f32);
    let visible = bbox.intersection(&all)?.area() / bbox.area();
    let large = (bw * bh).sqrt() >= SMALLEST * wish.face[0] as f32;
    let landmarks = face.landmarks.map(|l| l.map(|[x, y]| place(Point { x, y })));
    Some(Target { bbox, landmarks, wanted: face.sure() && large && visible >= VISIBLE })
}

/// The side of a face, drawn so that every doubling is as likely as the next.
fn size(wish: &Wish, rng: &mut Pcg64Mcg) -> f64 {
    between(rng, wish.face.map(f64::ln)).exp()
}

fn side(rect: &Rect) -> f64 {
    f64::from(rect.area()).sqrt().max(1.0)
}

/// Left becomes right: eyes and corners of the mouth change names.
fn mirror(scene: &mut Scene) {
    let width = scene.picture.width;
    augment::mirror(&mut scene.picture.data, width, 3);
    for face in &mut scene.faces {
        face.bbox.x = width as f32 - face.bbox.right();
        face.landmarks = face.landmarks.map(|l| {
            let [a, b, c, d, e] = l.map(|p| Point { x: width as f32 - p.x, y: p.y });
            [b, a, c, e, d]
        });
    }
}

/// The scene of number `index` that is used to measure with: always the same.
///
/// # Errors
///
/// As [`Painter::scene`].
pub fn for_measuring(painter: &mut Painter, corpus: &Corpus, wish: &Wish, index: usize) -> Result<Scene> {
    let mut rng = seeded::generator(0, "scene to measure with", &[index as u64]);
    painter.composed(corpus, wish, &mut rng)
}
