//! The result as GStreamer's own analytics metadata, which is there from 1.24 on.
//!
//! For each face an `ODMtd` of type `face` with
//!
//! | relation | to | holds |
//! |---|---|---|
//! | `CONTAIN` | `ClsMtd` | classes `fake` and `real`: probabilities by the score of the track; absent for a face that was not scored |
//! | `RELATE_TO` | `TrackingMtd` | the track |
//! | `CONTAIN` | `TensorMtd` `deepfake-map` | from 1.28 on: the map, 32-bit floats, height x width, in rows; its mean is the logit of the frame |
//!
//! Where an element upstream has made an `ODMtd` of type `face`, that one is taken.

use deepfake_scoring::geometry::Rect;
use gst_analytics::prelude::*;
use gst_analytics::{
    AnalyticsClassificationMtd, AnalyticsODMtd, AnalyticsRelationMeta, AnalyticsTrackingMtd, RelTypes, ffi,
};

use super::{ROI_TYPE, Scores};

/// The type of tensor that holds a map.
#[cfg(feature = "v1_28")]
pub const MAP_TENSOR: &str = "deepfake-map";

/// Boxes that overlap by more are of one face: they differ by rounding alone.
const SAME: f32 = 0.9;

/// A face among the relations of a buffer, whoever found it.
#[derive(Clone, Debug, PartialEq)]
pub struct RelatedFace {
    /// Of its `ODMtd`.
    pub id: u32,
    /// In pixels.
    pub bbox: Rect,
    /// Of the face detector, in [0, 1].
    pub confidence: f32,
    /// What a tracker calls it.
    pub track: Option<u64>,
    /// Probability of fake, in [0, 1]; that of the last `deepfakescore` where there were several.
    pub fake: Option<f32>,
    /// Width, height and the logits, row by row.
    #[cfg(feature = "v1_28")]
    pub map: Option<(usize, usize, Vec<f32>)>,
}

/// The faces among the relations of a buffer.
pub fn faces(buffer: &gst::BufferRef) -> Vec<RelatedFace> {
    let Some(meta) = buffer.meta::<AnalyticsRelationMeta>() else { return vec![] };
    let fake = glib::Quark::from_str("fake");
    let faces = meta.iter::<AnalyticsODMtd>().filter(|od| od.obj_type() == Some(glib::Quark::from_str(ROI_TYPE)));
    let faces = faces.filter_map(|od| {
        let at = od.location().ok()?;
        let classes = meta.iter_direct_related::<AnalyticsClassificationMtd>(od.id(), RelTypes::CONTAIN);
        let fakes = classes.filter_map(|c| c.iterate().find(|(class, _)| *class == fake).map(|(_, level)| level));
        let related = |a, b| meta.relation(a, b).contains(RelTypes::RELATE_TO);
        let mut trackings = meta.iter::<AnalyticsTrackingMtd>();
        // Trackers do not agree on the direction.
        let tracking = trackings.find(|t| related(od.id(), t.id()) || related(t.id(), od.id()));
        Some(RelatedFace {
            id: od.id(),
            bbox: Rect::new(at.x as f32, at.y as f32, at.w as f32, at.h as f32),
            confidence: at.loc_conf_lvl,
            track: tracking.and_then(|t| track(&meta, t.id())),
            fake: fakes.last(),
            #[cfg(feature = "v1_28")]
            map: map::read(&meta, od.id()),
        })
    });
    faces.collect()
}

/// The bindings would panic on a time that is not set.
fn track(meta: &AnalyticsRelationMeta, id: u32) -> Option<u64> {
    let (mut track, mut first, mut last, mut lost) = (0, 0, 0, 0);
    // SAFETY: the identifier is that of a tracking in this meta, and all four places are written to.
    let found = unsafe {
        let tracking = ffi::GstAnalyticsTrackingMtd { id, meta: meta.as_mut_ptr() };
        ffi::gst_analytics_tracking_mtd_get_info(&tracking, &mut track, &mut first, &mut last, &mut lost)
    };
    (found != glib::ffi::GFALSE).then_some(track)
}

/// Writes results, and remembers since when each track is seen.
#[derive(Debug, Default)]
pub(crate) struct Relations {
    first_seen: Vec<(u64, gst::ClockTime)>,
}

impl Relations {
    /// Adds what is known to the relations of a frame of that size. Tracks that are not followed any more are forgotten.
    ///
    /// # Errors
    ///
    /// Where the meta takes no more.
    pub(crate) fn attach(
        &mut self,
        buffer: &mut gst::BufferRef,
        (width, height): (u32, u32),
        scores: &Scores,
        is_followed: impl Fn(u64) -> bool,
    ) -> Result<(), glib::BoolError> {
        self.first_seen.retain(|(track, _)| is_followed(*track));
        if scores.faces.is_empty() {
            return Ok(());
        }
        let now = buffer.pts().unwrap_or_default();
        let known = faces(buffer);
        let mut meta = match buffer.meta::<AnalyticsRelationMeta>().is_some() {
            true => buffer.meta_mut().ok_or_else(|| glib::bool_error!("The relations are not there any more"))?,
            false => AnalyticsRelationMeta::add(buffer),
        };
        for face in &scores.faces {
            let Some(at) = face.pixels(width, height) else { continue };
            let there = known.iter().find(|k| k.bbox.iou(&at) > SAME);
            let id = match there {
                Some(known) => known.id,
                None => {
                    let [x, y, right, bottom] = [at.x, at.y, at.right(), at.bottom()].map(|v| v.round() as i32);
                    let kind = glib::Quark::from_str(ROI_TYPE);
                    meta.add_od_mtd(
                        kind,
                        x,
                        y,
                        right.saturating_sub(x),
                        bottom.saturating_sub(y),
                        face.confidence as f32,
                    )?
                    .id()
                }
            };
            if let Ok(score) = &face.outcome {
                let fake = score.score as f32;
                let classes = ["fake", "real"].map(glib::Quark::from_str);
                let classification = meta.add_cls_mtd(&[fake, 1.0 - fake], &classes)?.id();
                meta.set_relation(RelTypes::CONTAIN, id, classification)?;
                #[cfg(feature = "v1_28")]
                if let Some(map) = &score.map {
                    let tensor = map::add(&mut meta, map)?;
                    meta.set_relation(RelTypes::CONTAIN, id, tensor)?;
                }
            }
            // 0 is a face that is not followed; a tracker upstream has its own name for it.
            if face.track != 0 && there.is_none_or(|known| known.track.is_none()) {
                let tracking = meta.add_tracking_mtd(face.track, self.first_seen(face.track, now))?.id();
                seen(&mut meta, tracking, now);
                meta.set_relation(RelTypes::RELATE_TO, id, tracking)?;
            }
        }
        Ok(())
    }

    fn first_seen(&mut self, track: u64, now: gst::ClockTime) -> gst::ClockTime {
        if let Some((_, first)) = self.first_seen.iter().find(|(t, _)| *t == track) {
            return *first;
        }
        self.first_seen.push((track, now));
        now
    }
}

/// (The bindings' way would borrow the meta for good.)
fn seen(meta: &mut AnalyticsRelationMeta, id: u32, now: gst::ClockTime) {
    // SAFETY: the identifier is that of a tracking in this meta, which is borrowed.
    unsafe {
        let mut tracking = ffi::GstAnalyticsTrackingMtd { id, meta: meta.as_mut_ptr() };
        ffi::gst_analytics_tracking_mtd_update_last_seen(&mut tracking, now.nseconds());
    }
}

/// Tensors among the relations, for which there are no bindings yet.
#[cfg(feature = "v1_28")]
mod map {
    use glib::translate::{IntoGlib, IntoGlibPtr, from_glib, from_glib_none};
    use gst_analytics::{AnalyticsMtd, Tensor, TensorDataType, TensorDimOrder};

    use super::*;
    use crate::meta::RegionMap;

    enum TensorMtd {}

    // SAFETY: that is the type of a tensor.
    unsafe impl AnalyticsMtd for TensorMtd {
        fn mtd_type() -> ffi::GstAnalyticsMtdType {
            // SAFETY: it takes nothing and always gives the same.
            unsafe { ffi::gst_analytics_tensor_mtd_get_mtd_type() }
        }
    }

    pub(super) fn add(meta: &mut AnalyticsRelationMeta, map: &RegionMap) -> Result<u32, glib::BoolError> {
        let bytes: Vec<u8> = map.values.iter().flat_map(|v| v.to_ne_bytes()).collect();
        let mut dims = [map.height as usize, map.width as usize];
        // SAFETY: the meta is borrowed, the buffer is given away, and as many sizes are read as there are.
        unsafe {
            let mut tensor = std::mem::MaybeUninit::<ffi::GstAnalyticsTensorMtd>::uninit();
            let added: bool = from_glib(ffi::gst_analytics_relation_meta_add_tensor_mtd_simple(
                meta.as_mut_ptr(),
                glib::Quark::from_str(MAP_TENSOR).into_glib(),
                TensorDataType::Float32.into_glib(),
                gst::Buffer::from_mut_slice(bytes).into_glib_ptr(),
                TensorDimOrder::RowMajor.into_glib(),
                dims.len(),
                dims.as_mut_ptr(),
                tensor.as_mut_ptr(),
            ));
            if added {
                Ok(tensor.assume_init().id)
            } else {
                Err(glib::bool_error!("The relations take no more tensors"))
            }
        }
    }

    /// The last map of a face.
    pub(super) fn read(meta: &gst::MetaRef<'_, AnalyticsRelationMeta>, face: u32) -> Option<(usize, usize, Vec<f32>)> {
        let tensors = meta.iter_direct_related::<TensorMtd>(face, RelTypes::CONTAIN);
        tensors.filter_map(|tensor| values(meta, tensor.id())).last()
    }

    fn values(meta: &AnalyticsRelationMeta, id: u32) -> Option<(usize, usize, Vec<f32>)> {
        // SAFETY: the identifier is that of a tensor in this meta; the tensor is copied, its data shared.
        let tensor: Tensor = unsafe {
            let tensor = ffi::GstAnalyticsTensorMtd { id, meta: meta.as_mut_ptr() };
            let tensor = ffi::gst_analytics_tensor_mtd_get_tensor(&tensor);
            if tensor.is_null() {
                return None;
            }
            from_glib_none(tensor)
        };
        let &[height, width] = tensor.dims() else { return None };
        let right = tensor.id() == glib::Quark::from_str(MAP_TENSOR)
            && tensor.data_type() == TensorDataType::Float32
            && tensor.dims_order() == TensorDimOrder::RowMajor;
        let data = tensor.data().map_readable().ok().filter(|d| right && d.len() == 4 * width * height)?;
        let values = data.chunks_exact(4).map(|v| f32::from_ne_bytes([v[0], v[1], v[2], v[3]]));
        Some((width, height, values.collect()))
    }
}
