//! Where the faces are: a `GstCustomMeta` apart from the scores, so that it is lost where they are not.
//!
//! Elements copy a meta without tags whatever they do to the picture, and one that is tagged as this one only if they know
//! what becomes of it: scalers ask it to follow, others leave it behind. So a box is right or absent.
//!
//! Before GStreamer 1.28 croppers and flippers leave it behind, and a scaler does not say whether it stretches the picture or
//! puts borders around it, so the box follows only where both come to the same: where the shape of the frame stays. From 1.28
//! on all three say which pixel goes where, and it follows.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::LazyLock;

use deepfake_scoring::geometry::Rect;
use glib::translate::{IntoGlib, ToGlibPtr, from_glib};
use gst::meta::{CustomMeta, MetaTag, MetaTransform, MetaTransformCopy};
use gst_video::ffi::{GstVideoInfo, GstVideoMetaTransform, GstVideoMetaTransformMatrix};
use gst_video::video_meta::{VideoMetaTransformScale, tags};

/// Name of the custom meta.
pub const BOXES_META_NAME: &str = "DeepfakeBoxesMeta";

const BOX: &str = "box";

/// Elements of GStreamer 1.28 and newer ask with this one first. It is looked up by its name, so that the plugin runs with
/// older ones too.
static MATRIX: LazyLock<glib::Quark> = LazyLock::new(|| glib::Quark::from_str("gst-video-matrix"));

/// Where one face is, in parts of the frame's width and height.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Place {
    pub(super) bbox: Option<Rect>,
    /// What the map lies over.
    pub(super) region: Option<Rect>,
}

impl Place {
    pub(super) fn write(&self, s: &mut gst::StructureRef) {
        for (rect, names) in [(self.bbox, BBOX), (self.region, REGION)] {
            let Some(Rect { x, y, w, h }) = rect else { continue };
            for (name, side) in names.into_iter().zip([x, y, w, h]) {
                s.set(name, f64::from(side));
            }
        }
    }

    fn read(s: &gst::StructureRef) -> Self {
        let rect = |names: [&str; 4]| {
            let [x, y, w, h] = names.map(|name| s.get::<f64>(name).ok().map(|v| v as f32));
            let near = |r: &Rect| [r.x, r.y, r.w, r.h].iter().all(|v| v.abs() <= super::FURTHEST);
            Some(Rect::new(x?, y?, w?, h?)).filter(|r| near(r) && r.w >= 0.0 && r.h >= 0.0)
        };
        Self { bbox: rect(BBOX), region: rect(REGION).filter(Rect::is_valid) }
    }
}

const BBOX: [&str; 4] = ["x", "y", "w", "h"];
const REGION: [&str; 4] = ["map-x", "map-y", "map-w", "map-h"];

/// The places of a frame's faces, in the order of the scores' faces.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Boxes {
    pub(super) frame: u64,
    pub(super) places: Vec<Place>,
}

impl Boxes {
    /// Those on a buffer; `None` where there are none, or none that hold.
    pub(super) fn from_buffer(buffer: &gst::BufferRef) -> Option<Self> {
        // The one way to crop that leaves the buffer, and so this meta, as it is.
        if buffer.meta::<gst_video::VideoCropMeta>().is_some() {
            return None;
        }
        Self::read(CustomMeta::from_buffer(buffer, BOXES_META_NAME).ok()?.structure())
    }

    fn read(s: &gst::StructureRef) -> Option<Self> {
        let boxes = s.get::<gst::ArrayRef>("boxes").ok()?;
        let places = boxes.iter().map(|v| Some(Place::read(v.get::<&gst::StructureRef>().ok()?)));
        Some(Self { frame: s.get("frame").ok()?, places: places.collect::<Option<_>>()? })
    }
}

/// Attaches the places of a frame's faces, in the place of earlier ones.
pub(super) fn attach(
    buffer: &mut gst::BufferRef,
    frame: u64,
    places: impl ExactSizeIterator<Item = Place>,
) -> Result<(), glib::BoolError> {
    super::put(buffer, BOXES_META_NAME, |s| {
        s.set("frame", frame);
        let boxes = places.map(|place| {
            let mut s = gst::Structure::new_empty(BOX);
            place.write(&mut s);
            s
        });
        s.set_value("boxes", super::array(boxes));
    })
}

/// Makes the meta known to GStreamer.
pub(super) fn register() {
    if CustomMeta::is_registered(BOXES_META_NAME) {
        return;
    }
    let tags = [tags::Video::TAG_NAME, tags::Size::TAG_NAME, tags::Orientation::TAG_NAME].map(|tag| tag.as_str());
    // SAFETY: GStreamer copies the name and the tags, and `transform` is there for as long as the plugin, which is never
    // unloaded. (The bindings' way to register does not tell how large the frames are.)
    unsafe {
        gst::ffi::gst_meta_register_custom(
            BOXES_META_NAME.to_glib_none().0,
            tags.as_slice().to_glib_none().0,
            Some(transform),
            ptr::null_mut(),
            None,
        );
    }
}

/// Called by GStreamer for each buffer that is made from one with this meta. `data` belongs to `kind`.
unsafe extern "C" fn transform(
    dest: *mut gst::ffi::GstBuffer,
    meta: *mut gst::ffi::GstCustomMeta,
    _src: *mut gst::ffi::GstBuffer,
    kind: glib::ffi::GQuark,
    data: glib::ffi::gpointer,
    _user_data: glib::ffi::gpointer,
) -> glib::ffi::gboolean {
    // SAFETY: GStreamer gives a buffer that is being made, and a meta of this kind on another one.
    let (dest, meta) = unsafe { (gst::BufferRef::from_mut_ptr(dest), &*meta.cast::<CustomMeta>()) };
    // A panic must not reach GStreamer. A box that is not there is never wrong.
    let carried = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: a quark that GStreamer has made, and what it gives with it.
        let change = unsafe { Change::from_transform(from_glib(kind), data) }?;
        let boxes = Boxes::read(meta.structure())?;
        attach(dest, boxes.frame, boxes.places.iter().map(|place| change.place(place))).ok()
    }));
    carried.is_ok_and(|carried| carried.is_some()).into_glib()
}

/// What was done to the picture: a point at (x, y), in parts of the frame, is now at
/// (`row(0)` · (x, y, 1), `row(1)` · (x, y, 1)), in parts of the new frame.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Change([[f64; 3]; 2]);

impl Change {
    const NONE: Self = Self([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]);

    /// `None` where it is not known.
    ///
    /// # Safety
    ///
    /// `data` must be what GStreamer passes to a transform of that `kind`.
    unsafe fn from_transform(kind: glib::Quark, data: glib::ffi::gpointer) -> Option<Self> {
        if kind == MetaTransformCopy::quark() {
            return Some(Self::NONE);
        }
        // SAFETY: that is what belongs to these kinds; all pointers are good for as long as the call.
        unsafe {
            if kind == VideoMetaTransformScale::quark() {
                let scale = data.cast::<GstVideoMetaTransform>().as_ref()?;
                Self::from_scale(scale.in_info.as_ref()?, scale.out_info.as_ref()?)
            } else if kind == *MATRIX {
                let matrix = data.cast::<GstVideoMetaTransformMatrix>().as_ref()?;
                Self::from_matrix(matrix, matrix.in_info.as_ref()?, matrix.out_info.as_ref()?)
            } else {
                None
            }
        }
    }

    /// Of a scaler that may have put borders around the picture, so that it keeps its shape: `None` where they would be a
    /// pixel or more.
    fn from_scale(from: &GstVideoInfo, to: &GstVideoInfo) -> Option<Self> {
        let shape = |info: &GstVideoInfo| {
            f64::from(info.width) * f64::from(info.par_n) / (f64::from(info.height) * f64::from(info.par_d))
        };
        let ratio = shape(from) / shape(to);
        let borders =
            if ratio > 1.0 { f64::from(to.height) * (1.0 - 1.0 / ratio) } else { f64::from(to.width) * (1.0 - ratio) };
        (borders < 1.0).then_some(Self::NONE)
    }

    /// Of an element that says which pixel goes where; `None` where it does more than to move, scale, mirror and turn by
    /// right angles.
    fn from_matrix(m: &GstVideoMetaTransformMatrix, from: &GstVideoInfo, to: &GstVideoInfo) -> Option<Self> {
        let [a, b, c, d, e, f, g, h, i] = m.matrix.map(f64::from);
        if [g, h, i] != [0.0, 0.0, 1.0] {
            return None;
        }
        let from_size = [f64::from(from.width), f64::from(from.height)];
        let start = [f64::from(m.in_rectangle.x), f64::from(m.in_rectangle.y)];
        let row = |[x, y, shift]: [f64; 3], end: i32, size: i32| {
            let shift = shift + f64::from(end) - x * start[0] - y * start[1];
            [x * from_size[0], y * from_size[1], shift].map(|v| v / f64::from(size))
        };
        let change = Self([row([a, b, c], m.out_rectangle.x, to.width), row([d, e, f], m.out_rectangle.y, to.height)]);
        let [[a, b, _], [d, e, _]] = change.0;
        let straight = (b == 0.0 && d == 0.0) || (a == 0.0 && e == 0.0);
        (straight && change.0.as_flattened().iter().all(|v| v.is_finite())).then_some(change)
    }

    fn place(&self, place: &Place) -> Place {
        let [[a, b, _], [d, e, _]] = self.0;
        // The columns and rows of a map do not turn with the picture.
        let upright = a > 0.0 && e > 0.0 && b == 0.0 && d == 0.0;
        Place {
            bbox: place.bbox.map(|r| self.rect(&r)),
            region: place.region.filter(|_| upright).map(|r| self.rect(&r)),
        }
    }

    fn rect(&self, r: &Rect) -> Rect {
        if *self == Self::NONE {
            return *r;
        }
        let point = |x: f32, y: f32| {
            let at = |[a, b, c]: [f64; 3]| (a * f64::from(x) + b * f64::from(y) + c) as f32;
            (at(self.0[0]), at(self.0[1]))
        };
        let ((x0, y0), (x1, y1)) = (point(r.x, r.y), point(r.right(), r.bottom()));
        Rect::from_corners(x0.min(x1), y0.min(y1), x0.max(x1), y0.max(y1))
    }
}

#[cfg(test)]
mod tests {
    use gst_video::VideoInfo;

    use super::*;

    const PLACE: Place =
        Place { bbox: Some(Rect::new(0.25, 0.5, 0.125, 0.25)), region: Some(Rect::new(-0.25, 0.25, 0.75, 0.75)) };

    fn info(width: u32, height: u32, par: (i32, i32)) -> VideoInfo {
        gst::init().unwrap();
        VideoInfo::builder(gst_video::VideoFormat::I420, width, height).par(par).build().unwrap()
    }

    fn raw(info: &VideoInfo) -> &GstVideoInfo {
        // SAFETY: the bindings' type is a transparent wrapper of it.
        unsafe { &*ToGlibPtr::<*const GstVideoInfo>::to_glib_none(info).0 }
    }

    /// As a scaler of that version asks, with and without a matrix.
    fn matrix(
        from: &VideoInfo,
        to: &VideoInfo,
        (x, y, w, h): (i32, i32, i32, i32),
        m: [f32; 9],
    ) -> GstVideoMetaTransformMatrix {
        let rectangle = |x, y, w, h| gst_video::ffi::GstVideoRectangle { x, y, w, h };
        GstVideoMetaTransformMatrix {
            in_info: raw(from),
            in_rectangle: rectangle(x, y, from.width() as i32 - 2 * x, from.height() as i32 - 2 * y),
            out_info: raw(to),
            out_rectangle: rectangle(w, h, to.width() as i32 - 2 * w, to.height() as i32 - 2 * h),
            matrix: m,
        }
    }

    #[test]
    fn scaling_is_followed_where_it_keeps_the_shape() {
        let change = |from: (u32, u32, (i32, i32)), to: (u32, u32, (i32, i32))| {
            Change::from_scale(raw(&info(from.0, from.1, from.2)), raw(&info(to.0, to.1, to.2)))
        };
        let square = (1, 1);
        assert_eq!(change((320, 240, square), (640, 480, square)), Some(Change::NONE));
        // A third of a pixel of border.
        assert_eq!(change((1280, 720, square), (854, 480, square)), Some(Change::NONE));
        // Anamorphic pixels keep the shape of the picture though that of the frame changes.
        assert_eq!(change((720, 576, (16, 15)), (768, 576, square)), Some(Change::NONE));
        assert_eq!(change((320, 240, square), (400, 240, square)), None);
        assert_eq!(change((320, 240, square), (320, 300, square)), None);
        assert_eq!(change((320, 240, square), (322, 240, square)), None);
    }

    #[test]
    fn a_matrix_is_followed_into_borders_and_out_of_crops() {
        let (from, to) = (info(320, 240, (1, 1)), info(400, 240, (1, 1)));
        let scale = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0];
        let pixels =
            |place: Option<Rect>, info: &VideoInfo| place.unwrap().scaled(info.width() as f32, info.height() as f32);
        let borders = Change::from_matrix(&matrix(&from, &to, (0, 0, 40, 0), scale), raw(&from), raw(&to)).unwrap();
        let place = borders.place(&PLACE);
        let near = |place, info: &VideoInfo, r: Rect| assert!(pixels(place, info).iou(&r) > 0.9999, "{place:?}");
        near(place.bbox, &to, Rect::new(120.0, 120.0, 40.0, 60.0));
        near(place.region, &to, Rect::new(-40.0, 60.0, 240.0, 180.0));
        let to = info(300, 200, (1, 1));
        let crop = Change::from_matrix(&matrix(&from, &to, (10, 20, 0, 0), scale), raw(&from), raw(&to)).unwrap();
        near(crop.place(&PLACE).bbox, &to, Rect::new(70.0, 100.0, 40.0, 60.0));
    }

    #[test]
    fn a_turned_picture_keeps_the_box_but_not_the_place_of_the_map() {
        let from = info(320, 240, (1, 1));
        let mirror = [-1.0, 0.0, 320.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0];
        let place = Change::from_matrix(&matrix(&from, &from, (0, 0, 0, 0), mirror), raw(&from), raw(&from));
        let place = place.unwrap().place(&PLACE);
        assert_eq!((place.bbox, place.region), (Some(Rect::new(0.625, 0.5, 0.125, 0.25)), None));

        let to = info(240, 320, (1, 1));
        let turn = [0.0, -1.0, 240.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0];
        let place = Change::from_matrix(&matrix(&from, &to, (0, 0, 0, 0), turn), raw(&from), raw(&to));
        let place = place.unwrap().place(&PLACE);
        assert_eq!((place.bbox, place.region), (Some(Rect::new(0.25, 0.25, 0.25, 0.125)), None));

        for bent in [
            [0.7, -0.7, 0.0, 0.7, 0.7, 0.0, 0.0, 0.0, 1.0],
            [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.1, 0.0, 1.0],
            [f32::NAN, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        ] {
            assert_eq!(Change::from_matrix(&matrix(&from, &to, (0, 0, 0, 0), bent), raw(&from), raw(&to)), None);
        }
    }

    #[test]
    fn what_cannot_be_followed_leaves_the_boxes_behind() {
        let square = (1, 1);
        let (small, large, wide) = (info(320, 240, square), info(640, 480, square), info(400, 240, square));
        register();
        let mut buffer = gst::Buffer::new();
        let boxes = Boxes { frame: 3, places: vec![PLACE, Place::default()] };
        attach(buffer.make_mut(), boxes.frame, boxes.places.iter().copied()).unwrap();
        assert_eq!(Boxes::from_buffer(&buffer), Some(boxes.clone()));
        let after = |transform: &VideoMetaTransformScale| {
            let mut other = gst::Buffer::new();
            let meta = buffer.iter_meta::<gst::Meta>().next().unwrap();
            let carried = meta.transform(other.make_mut(), transform).is_ok();
            assert_eq!(carried, Boxes::from_buffer(&other).is_some());
            Boxes::from_buffer(&other)
        };
        assert_eq!(after(&VideoMetaTransformScale::new(&small, &large)), Some(boxes.clone()));
        assert_eq!(after(&VideoMetaTransformScale::new(&small, &wide)), None);
        assert_eq!(Boxes::from_buffer(&buffer.copy()), Some(boxes));

        gst_video::VideoCropMeta::add(buffer.make_mut(), (8, 8, 100, 100));
        assert_eq!(Boxes::from_buffer(&buffer), None, "cropped without a copy");
    }
}
