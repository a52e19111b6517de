//! What is drawn for a frame, and where.

use std::collections::HashMap;
use std::sync::Arc;

use deepfake_scoring::geometry::Rect;
use deepfake_scoring::verdict::Verdict;
use pangocairo::cairo;

use super::blend::{Area, Argb, Picture};
use super::heat::{self, Region};
use super::label::{self, Font, Label};
use crate::meta::{Face, RegionMap, Scores};

const FAKE: [u8; 3] = [226, 43, 38];
const REAL: [u8; 3] = [34, 150, 70];
const UNDECIDED: [u8; 3] = [247, 173, 24];
const NOT_SCORED: [u8; 3] = [138, 141, 146];
/// Around the lines, so that they are seen on any ground: black, 45 %.
const SHADOW: Argb = 0x7300_0000;
/// Labels that are kept though no face of the frame has them.
const SPARE_LABELS: usize = 64;

/// What the user wants to see.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Style {
    pub(super) boxes: bool,
    pub(super) labels: bool,
    pub(super) map: bool,
    pub(super) map_opacity: f64,
    /// In pixels; 0 follows the size of the frame.
    pub(super) line_width: u32,
    pub(super) font: String,
}

/// Something to blend into the frame.
#[derive(Clone, Debug)]
pub(super) enum Shape {
    /// One colour all over an area.
    Solid(Area, Argb),
    /// A picture whose top left pixel comes there.
    Picture(i32, i32, Arc<Picture>),
}

/// Draws scenes on frames of one size, and remembers pictures that do not change from frame to frame.
#[derive(Debug)]
pub(super) struct Painter {
    frame: Area,
    labels: HashMap<Label, (Arc<Picture>, u64)>,
    font: Option<Font>,
    heats: HashMap<u64, Heat>,
    scenes: u64,
}

/// The map of a track as it was drawn last.
#[derive(Debug)]
struct Heat {
    map: RegionMap,
    opacity: f64,
    picture: Arc<Picture>,
    scene: u64,
}

impl Painter {
    pub(super) fn new(frame: Area) -> Self {
        Self { frame, labels: HashMap::new(), font: None, heats: HashMap::new(), scenes: 0 }
    }

    /// Draws a label that nobody sees, for what is loaded with the first one.
    ///
    /// # Errors
    ///
    /// Where there is no memory for it.
    pub(super) fn prepare(&mut self, style: &Style) -> Result<(), cairo::Error> {
        let label = Label { title: "0".into(), text: "%".into(), note: "#".into(), colour: NOT_SCORED };
        label::picture(&label, &self.font(style)).map(drop)
    }

    /// What to blend for `scores`, from the ground up.
    ///
    /// # Errors
    ///
    /// Where there is no memory for a label.
    pub(super) fn scene(&mut self, scores: &Scores, style: &Style) -> Result<Vec<Shape>, cairo::Error> {
        self.scenes += 1;
        let mut shapes = Vec::new();
        // From the smallest to the largest, so that the face in front covers those behind it.
        let faces: Vec<_> = scores.faces.iter().rev().filter(|f| f.bbox.is_some_and(|r| r.is_valid())).collect();
        if style.map {
            for face in &faces {
                shapes.extend(self.heat(face, style));
            }
        }
        if style.boxes {
            for face in &faces {
                self.outline(face, style, &mut shapes);
            }
        }
        if style.labels {
            // The largest chooses its place first.
            let mut taken = Vec::new();
            for face in faces.iter().rev() {
                let picture = self.label(face, style)?;
                let (x, y) = self.place(face, style, &picture, &taken);
                taken.push(Area::new(x, y, x + picture.width as i32, y + picture.height as i32));
                shapes.push(Shape::Picture(x, y, picture));
            }
        }
        let now = self.scenes;
        self.heats.retain(|_, heat| heat.scene == now);
        self.forget(SPARE_LABELS + faces.len());
        Ok(shapes)
    }

    /// Keeps at most so many labels, those that were seen last. One goes for one that comes: were all let go at once, they would be drawn
    /// again at once, and the memory in use would swing by what they take.
    fn forget(&mut self, most: usize) {
        let mut excess = self.labels.len().saturating_sub(most);
        while excess > 0
            && let Some(oldest) = self.labels.values().map(|(_, scene)| *scene).min()
        {
            self.labels.retain(|_, (_, scene)| {
                let goes = excess > 0 && *scene == oldest;
                excess -= usize::from(goes);
                !goes
            });
        }
    }

    /// The unit of all sizes: the shorter side of the frame.
    fn side(&self) -> f64 {
        f64::from(self.frame.width().min(self.frame.height()))
    }

    fn font(&self, style: &Style) -> Font {
        Font { name: style.font.clone(), size: (self.side() / 38.0).round().max(11.0) }
    }

    fn line_width(&self, style: &Style) -> i32 {
        match style.line_width {
            0 => ((self.side() / 300.0).round() as i32).max(2),
            width => width as i32,
        }
    }

    /// In whole pixels.
    fn area(&self, face: &Face) -> Area {
        let pixels = face.pixels(self.frame.width() as u32, self.frame.height() as u32);
        let Rect { x, y, w, h } = pixels.unwrap_or_default();
        // Casts saturate, so a box far outside of the frame stays there.
        Area::new(x.round() as i32, y.round() as i32, (x + w).round() as i32, (y + h).round() as i32)
    }

    fn heat(&mut self, face: &Face, style: &Style) -> Option<Shape> {
        let map = face.outcome.as_ref().ok()?.map.as_ref()?;
        let (width, height) = (f64::from(self.frame.width()), f64::from(self.frame.height()));
        let region = map.region?;
        let region = Region {
            x: f64::from(region.x) * width,
            y: f64::from(region.y) * height,
            w: f64::from(region.w) * width,
            h: f64::from(region.h) * height,
        };
        let area = Area::new(
            region.x.round() as i32,
            region.y.round() as i32,
            (region.x + region.w).round() as i32,
            (region.y + region.h).round() as i32,
        )
        .and(self.frame);
        if area.is_empty() {
            return None;
        }
        let scene = self.scenes;
        let fresh = || Heat {
            map: map.clone(),
            opacity: style.map_opacity,
            picture: Arc::new(heat::picture(map, region, area, style.map_opacity)),
            scene,
        };
        let heat = self.heats.entry(face.track).or_insert_with(fresh);
        if heat.map != *map || heat.opacity != style.map_opacity {
            *heat = fresh();
        }
        heat.scene = scene;
        Some(Shape::Picture(area.x0, area.y0, heat.picture.clone()))
    }

    fn outline(&self, face: &Face, style: &Style, shapes: &mut Vec<Shape>) {
        let line = self.line_width(style);
        let shadow = (line + 1) / 2;
        let area = self.area(face);
        let [r, g, b] = colour(face);
        ring(area, line + shadow, line + 2 * shadow, SHADOW, shapes);
        ring(area, line, line, Argb::from_be_bytes([255, r, g, b]), shapes);
    }

    fn label(&mut self, face: &Face, style: &Style) -> Result<Arc<Picture>, cairo::Error> {
        let font = self.font(style);
        if self.font.as_ref() != Some(&font) {
            self.labels.clear();
        }
        // Beside a small face a long label says more about the label than about the face.
        let compact = f64::from(self.area(face).width()) < 4.0 * font.size;
        let label = words(face, compact);
        if let Some((picture, scene)) = self.labels.get_mut(&label) {
            *scene = self.scenes;
            return Ok(picture.clone());
        }
        let picture = Arc::new(label::picture(&label, &font)?);
        self.font = Some(font);
        self.labels.insert(label, (picture.clone(), self.scenes));
        Ok(picture)
    }

    /// Above the box, or where that is taken or outside of the frame below it, or in it.
    fn place(&self, face: &Face, style: &Style, picture: &Picture, taken: &[Area]) -> (i32, i32) {
        let area = self.area(face);
        let (width, height) = (picture.width as i32, picture.height as i32);
        let away = 2 * self.line_width(style);
        let x = area.x0.saturating_sub(self.line_width(style)).clamp(0, (self.frame.x1 - width).max(0));
        let places = [
            area.y0.saturating_sub(height).saturating_sub(away),
            area.y1.saturating_add(away),
            area.y0.saturating_add(away),
            area.y1.saturating_sub(height).saturating_sub(away),
        ];
        let fits = |y: &&i32| (0..=self.frame.y1 - height).contains(*y);
        let free = |y: &&i32| {
            let here = Area::new(x, **y, x + width, **y + height);
            taken.iter().all(|other| here.and(*other).is_empty())
        };
        let y = places.iter().filter(fits).find(free).or_else(|| places.iter().find(fits));
        (x, y.copied().unwrap_or_else(|| places[2].clamp(0, (self.frame.y1 - height).max(0))))
    }
}

/// The four sides of a frame of `width` pixels whose outer edge is `outer` pixels out of `area`.
fn ring(area: Area, outer: i32, width: i32, colour: Argb, shapes: &mut Vec<Shape>) {
    let out = Area::new(
        area.x0.saturating_sub(outer),
        area.y0.saturating_sub(outer),
        area.x1.saturating_add(outer),
        area.y1.saturating_add(outer),
    );
    let (top, bottom) = (out.y0.saturating_add(width), out.y1.saturating_sub(width).max(out.y0.saturating_add(width)));
    let (left, right) = (out.x0.saturating_add(width), out.x1.saturating_sub(width).max(out.x0.saturating_add(width)));
    for side in [
        Area { y1: top, ..out },
        Area { y0: bottom, ..out },
        Area { x1: left, y0: top, y1: bottom, ..out },
        Area { x0: right, y0: top, y1: bottom, ..out },
    ] {
        shapes.push(Shape::Solid(side, colour));
    }
}

fn colour(face: &Face) -> [u8; 3] {
    match (&face.outcome, face.verdict) {
        (Err(_), _) => NOT_SCORED,
        (Ok(_), Verdict::Fake) => FAKE,
        (Ok(_), Verdict::Real) => REAL,
        (Ok(_), Verdict::Undecided) => UNDECIDED,
    }
}

/// What the label of a face says. A compact one has the number alone: the colour is the verdict.
fn words(face: &Face, compact: bool) -> Label {
    let colour = colour(face);
    let (title, text, note) = match &face.outcome {
        Err(reason) if compact => (reason.name().replace('-', " "), String::new(), String::new()),
        Err(reason) => ("NOT SCORED".into(), reason.name().replace('-', " "), format!("#{}", face.track)),
        Ok(score) => {
            let percent = (score.score * 100.0).round();
            if compact {
                (format!("{percent} %"), String::new(), String::new())
            } else {
                let age = score.age.nseconds() as f64 / 1e9;
                let age = match age {
                    0.0 => String::new(),
                    _ if age < 0.95 => format!("  {:.0} ms old", (age * 100.0).ceil() * 10.0),
                    _ => format!("  {age:.1} s old"),
                };
                (face.verdict.name().to_uppercase(), format!("{percent} % fake"), format!("#{}{age}", face.track))
            }
        }
    };
    Label { title, text, note, colour }
}

#[cfg(test)]
mod tests {
    use deepfake_scoring::score::NotScored;

    use super::*;
    use crate::meta::{FaceScore, Mode, ScoredBy};

    const STYLE: Style =
        Style { boxes: true, labels: true, map: true, map_opacity: 0.5, line_width: 0, font: String::new() };

    fn face(track: u64, bbox: Rect) -> Face {
        let score = FaceScore {
            score: 0.874,
            frame_score: 0.5,
            logit: 0.0,
            age: gst::ClockTime::ZERO,
            map: Some(RegionMap { width: 1, height: 1, values: vec![4.0], region: Some(bbox) }),
        };
        Face { track, bbox: Some(bbox), confidence: 1.0, verdict: Verdict::Fake, outcome: Ok(score) }
    }

    fn scores(faces: Vec<Face>) -> Scores {
        let by = ScoredBy { model: String::new(), sha256: String::new(), provider: String::new() };
        Scores { frame: 0, mode: Mode::EveryFrame, by: by.into(), faces }
    }

    fn painter() -> Painter {
        Painter::new(Area::new(0, 0, 1920, 1080))
    }

    fn labels(shapes: &[Shape], count: usize) -> Vec<Area> {
        shapes[shapes.len() - count..]
            .iter()
            .map(|shape| match shape {
                Shape::Picture(x, y, p) => Area::new(*x, *y, x + p.width as i32, y + p.height as i32),
                Shape::Solid(..) => panic!("no label"),
            })
            .collect()
    }

    #[test]
    fn labels_say_what_matters() {
        let mut face = face(7, Rect::new(0.0, 0.0, 1.0, 1.0));
        let label = words(&face, false);
        assert_eq!((&*label.title, &*label.text, &*label.note), ("FAKE", "87 % fake", "#7"));
        let age = |face: &mut Face, ms| {
            face.outcome.as_mut().unwrap().age = gst::ClockTime::from_mseconds(ms);
            words(face, false).note
        };
        assert_eq!(age(&mut face, 1), "#7  10 ms old");
        assert_eq!(age(&mut face, 120), "#7  120 ms old");
        assert_eq!(age(&mut face, 2500), "#7  2.5 s old");
        assert_eq!(words(&face, true).title, "87 %");
        face.outcome = Err(NotScored::TooSmall);
        let label = words(&face, false);
        assert_eq!((&*label.title, &*label.text, label.colour), ("NOT SCORED", "too small", NOT_SCORED));
        assert_eq!(words(&face, true).title, "too small");
    }

    #[test]
    fn labels_stay_in_the_frame_and_apart() {
        let boxes = [
            Rect::new(0.4, 0.4, 0.2, 0.3),
            Rect::new(0.42, 0.41, 0.2, 0.28),
            Rect::new(0.9, 0.0, 0.2, 0.2),
            Rect::new(-0.1, 0.9, 0.2, 0.3),
        ];
        let faces = boxes.iter().enumerate().map(|(i, b)| face(i as u64, *b)).collect();
        let shapes = painter().scene(&scores(faces), &STYLE).unwrap();
        let labels = labels(&shapes, boxes.len());
        for (i, label) in labels.iter().enumerate() {
            assert_eq!(label.and(Area::new(0, 0, 1920, 1080)), *label, "{i}");
            assert!(labels[..i].iter().all(|other| other.and(*label).is_empty()), "{i}");
        }
    }

    #[test]
    fn pictures_are_drawn_once_while_nothing_changes() {
        let mut painter = painter();
        let faces = scores(vec![face(1, Rect::new(0.2, 0.3, 0.1, 0.2))]);
        let pictures = |shapes: Vec<Shape>| {
            shapes
                .into_iter()
                .filter_map(|s| if let Shape::Picture(_, _, p) = s { Some(Arc::as_ptr(&p)) } else { None })
                .collect::<Vec<_>>()
        };
        let first = painter.scene(&faces, &STYLE).unwrap();
        let (keep, first) = (first.clone(), pictures(first));
        assert_eq!(pictures(painter.scene(&faces, &STYLE).unwrap()), first);
        let other = Style { map_opacity: 0.75, font: "Serif".into(), ..STYLE };
        let changed = pictures(painter.scene(&faces, &other).unwrap());
        assert!(changed[0] != first[0] && changed[1] != first[1]);
        drop(keep);
    }

    #[test]
    fn what_is_not_needed_is_forgotten() {
        let mut painter = painter();
        for track in 0..1000 {
            painter.scene(&scores(vec![face(track, Rect::new(0.2, 0.3, 0.3, 0.2))]), &STYLE).unwrap();
        }
        // Of a track each, the last ones.
        let kept = |painter: &Painter| painter.labels.values().map(|(_, scene)| *scene).min();
        assert_eq!((painter.labels.len(), painter.heats.len()), (SPARE_LABELS + 1, 1));
        assert_eq!(kept(&painter), Some(1000 - SPARE_LABELS as u64));
        painter.scene(&scores(vec![face(0, Rect::new(0.2, 0.3, 0.3, 0.2))]), &STYLE).unwrap();
        assert_eq!((painter.labels.len(), kept(&painter)), (SPARE_LABELS + 1, Some(1001 - SPARE_LABELS as u64)));
        // Of many that were seen together no more go than must.
        let place = |n: u64| Rect::new(0.01 * n as f32, 0.3, 0.1, 0.1);
        painter.scene(&scores((2000..2040).map(|n| face(n, place(n - 2000))).collect()), &STYLE).unwrap();
        for track in 3000..3100 {
            painter.scene(&scores(vec![face(track, place(1))]), &STYLE).unwrap();
            assert_eq!(painter.labels.len(), SPARE_LABELS + 1);
        }
    }

    #[test]
    fn what_is_not_wanted_is_not_drawn() {
        let faces = scores(vec![face(1, Rect::new(0.2, 0.3, 0.1, 0.2))]);
        let count = |style: &Style| painter().scene(&faces, style).unwrap().len();
        let none = Style { boxes: false, labels: false, map: false, ..STYLE };
        assert_eq!(count(&none), 0);
        assert_eq!(count(&Style { boxes: true, ..none.clone() }), 8);
        assert_eq!(count(&Style { labels: true, ..none.clone() }), 1);
        assert_eq!(count(&Style { map: true, ..none }), 1);
        assert_eq!(painter().scene(&scores(Vec::new()), &STYLE).unwrap().len(), 0);
    }

    #[test]
    fn absurd_boxes_are_harmless() {
        for bbox in [
            Rect::new(1e30, 1e30, 1e30, 1e30),
            Rect::new(-1e30, -1e30, 2e30, 2e30),
            Rect::new(f32::NAN, 0.0, 1.0, 1.0),
            Rect::new(0.5, 0.5, -1.0, 0.1),
            Rect::new(0.5, 0.5, 1e-9, 1e-9),
        ] {
            painter().scene(&scores(vec![face(1, bbox)]), &STYLE).unwrap();
        }
    }
}
