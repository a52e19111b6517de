//! Small faces in large frames, without a look at the whole of a large picture.
//!
//! Each look takes the whole frame, shrunk, and where that loses the smallest wished faces, a few windows at a finer scale: one on a
//! small face that is known, so that it is not lost again, the others further along a scan of the frame. A face that appears is
//! found when the scan comes by; a window costs a quarter of the whole.

use super::{Face, LocateError, Locator, Picture};
use crate::frame::FrameView;
use crate::geometry::Rect;
use crate::session::RunOptions;

/// Faces from so many pixels are found in a picture as they should be.
const FOUND: f32 = 12.0;
/// The smallest wished face has so many pixels in a window.
const FINE: f32 = 16.0;
/// Of a window, in pixels of its picture, up to the next multiple of the detector's stride. Detectors whose graph fixes a size have
/// that, and a window costs them as much as the whole.
const WINDOW: (usize, usize) = (320, 192);
/// Windows a look.
const WINDOWS: usize = 2;
/// What must be seen around a face, in parts of its longer side, for it to be missed.
const AROUND: f32 = 0.4;
/// A face that reaches closer than this to a window's edge, in pixels of the picture, may be a part of one.
const EDGE: f32 = 2.0;

/// Where the next look goes, from frame to frame of one stream.
#[derive(Clone, Debug, Default)]
pub struct Search {
    /// Window of the scan.
    next: usize,
    /// Known small face.
    turn: usize,
    /// At known faces.
    looks: u32,
    /// Of the last look, in pixels of the frame.
    windows: Vec<Rect>,
    /// Smaller faces were looked for in the windows alone.
    least: f32,
    frame: Rect,
    known: Vec<Rect>,
}

impl Search {
    /// Puts the faces of a frame into `faces`, in place of what is there. `smallest` is the shorter side of the smallest face that is
    /// wished, in pixels of the frame; `known` are where faces should be by what is known from earlier looks. `options` end it early.
    ///
    /// # Errors
    ///
    /// As [`Locator::locate`].
    pub fn look(
        &mut self,
        locator: &mut Locator,
        frame: &FrameView<'_>,
        smallest: f32,
        known: impl Iterator<Item = Rect>,
        faces: &mut Vec<Face>,
        options: Option<&RunOptions>,
    ) -> Result<(), LocateError> {
        let whole = locator.whole(frame);
        self.windows.clear();
        self.least = FOUND / whole.scale();
        self.frame = Rect::new(0.0, 0.0, frame.width() as f32, frame.height() as f32);
        let fine = (FINE / smallest.max(1.0)).min(1.0);
        if smallest >= self.least || fine <= whole.scale() {
            // There is nothing that other looks would find.
            self.least = 0.0;
            return locator.look(frame, &[whole], faces, options);
        }
        let (width, height) = locator.size_of(WINDOW);
        let size = (width as f32 / fine, height as f32 / fine);
        self.known.clear();
        self.known.extend(known.filter(|b| b.is_valid() && b.w.min(b.h) < self.least));
        if !self.known.is_empty() {
            self.turn = (self.turn + 1) % self.known.len();
            let at = self.known[self.turn].center();
            // Never twice at the same place of the window: what is missed there would be missed for ever.
            self.looks = self.looks.wrapping_add(1);
            let part = |step: u32| 0.3 + 0.4 * (self.looks.wrapping_mul(step) % 16) as f32 / 15.0;
            let place = |at: f32, side: f32, part: f32, frame: usize| {
                (at - side * part).clamp(0.0, (frame as f32 - side).max(0.0))
            };
            let x = place(at.x, size.0, part(5), frame.width());
            let y = place(at.y, size.1, part(7), frame.height());
            self.windows.push(Rect::new(x, y, size.0, size.1));
        }
        // Each face that the whole frame is too coarse for lies whole in one of them, with what is around it.
        let overlap = self.least * (1.0 + 2.0 * AROUND);
        let (columns, rows) = (Axis::new(frame.width(), size.0, overlap), Axis::new(frame.height(), size.1, overlap));
        for _ in self.windows.len()..WINDOWS {
            self.next = (self.next + 1) % (columns.count * rows.count);
            let (x, y) = (columns.place(self.next % columns.count), rows.place(self.next / columns.count));
            self.windows.push(Rect::new(x, y, size.0, size.1));
        }
        let mut pictures = [whole; WINDOWS + 1];
        for (picture, region) in pictures[1..].iter_mut().zip(&self.windows) {
            *picture = Picture { width, height, region: *region };
        }
        locator.look(frame, &pictures, faces, options)
    }

    /// Whether a face there would have been found in the last look.
    pub fn saw(&self, bbox: &Rect) -> bool {
        // What sticks out of the frame cannot be seen; what is out of it is gone.
        let Some(bbox) = Some(bbox).filter(|b| b.is_valid()).and_then(|b| b.intersection(&self.frame)) else {
            return true;
        };
        // A detector wants to see some of what is around a face; at the frame's edge there is no more than that.
        let around = bbox.grown(AROUND * bbox.w.max(bbox.h)).intersection(&self.frame).unwrap_or(bbox);
        let inside = |w: &Rect| {
            around.x >= w.x && around.y >= w.y && around.right() <= w.right() && around.bottom() <= w.bottom()
        };
        bbox.w.min(bbox.h) >= self.least || self.windows.iter().any(inside)
    }
}

/// Windows along one side of a frame.
struct Axis {
    count: usize,
    /// From one to the next.
    step: f32,
}

impl Axis {
    fn new(frame: usize, window: f32, overlap: f32) -> Self {
        let rest = (frame as f32 - window).max(0.0);
        let steps = (rest / (window - overlap).max(window / 4.0)).ceil();
        Self { count: steps as usize + 1, step: if steps > 0.0 { rest / steps } else { 0.0 } }
    }

    fn place(&self, index: usize) -> f32 {
        self.step * index as f32
    }
}

impl Picture {
    /// Pixels of the picture to one of the frame.
    fn scale(&self) -> f32 {
        self.width as f32 / self.region.w
    }

    /// Whether a face, in pixels of the frame, may be cut off by an edge of this picture that is none of the frame.
    pub(super) fn cuts(&self, bbox: &Rect, frame: &FrameView<'_>) -> bool {
        let margin = EDGE / self.scale();
        let r = &self.region;
        (r.x > 0.0 && bbox.x < r.x + margin)
            || (r.y > 0.0 && bbox.y < r.y + margin)
            || (r.right() < frame.width() as f32 && bbox.right() > r.right() - margin)
            || (r.bottom() < frame.height() as f32 && bbox.bottom() > r.bottom() - margin)
    }
}
