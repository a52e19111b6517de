//! `deepfakeoverlay`: what it draws, in every format, and what it leaves alone.

use deepfake_scoring::frame::PixelFormat;
use deepfake_scoring::geometry::Rect;
use deepfake_scoring::verdict::Verdict;
use gst::prelude::*;
use gst_check::Harness;
use gst_video::prelude::*;
use gstdeepfake::meta::Scores;

mod results;

const BOX: Rect = Rect::new(0.5, 0.4, 0.2, 0.25);
const FAKE: [u8; 3] = [226, 43, 38];

fn harness(properties: &[(&str, &str)]) -> Harness {
    results::init();
    let harness = Harness::new("deepfakeoverlay");
    let element = harness.element().unwrap();
    for (name, value) in properties {
        element.set_property_from_str(name, value);
    }
    harness
}

fn info(format: PixelFormat, width: u32, height: u32, colorimetry: Option<&str>) -> gst_video::VideoInfo {
    results::init();
    let format = gst_video::VideoFormat::from_string(format.name());
    let mut builder = gst_video::VideoInfo::builder(format, width, height).fps(gst::Fraction::new(25, 1));
    let colorimetry = colorimetry.map(|c| c.parse::<gst_video::VideoColorimetry>().unwrap());
    if let Some(colorimetry) = &colorimetry {
        builder = builder.colorimetry(colorimetry);
    }
    builder.build().unwrap()
}

fn one_fake() -> Scores {
    results::scores(0, vec![results::face(3, BOX, Verdict::Fake, 0.93)])
}

/// A frame of noise, with `padding` more bytes to each row than GStreamer would have.
fn noise(info: &gst_video::VideoInfo, padding: usize) -> gst::Buffer {
    let mut seed = 1u32;
    let mut offsets = Vec::new();
    let mut strides = Vec::new();
    let mut size = 0;
    for plane in 0..info.n_planes() as usize {
        offsets.push(size);
        let stride = info.stride()[plane] as usize + padding;
        strides.push(stride as i32);
        let component = info.format_info().plane().iter().position(|&p| p as usize == plane).unwrap();
        size += stride * info.comp_height(component as u8) as usize;
    }
    let bytes: Vec<u8> = (0..size)
        .map(|_| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 24) as u8
        })
        .collect();
    let mut buffer = gst::Buffer::from_mut_slice(bytes);
    gst_video::VideoMeta::add_full(
        buffer.get_mut().unwrap(),
        gst_video::VideoFrameFlags::empty(),
        info.format(),
        info.width(),
        info.height(),
        &offsets,
        &strides,
    )
    .unwrap();
    buffer
}

/// A frame of one colour, made by GStreamer's converter.
fn plain(info: &gst_video::VideoInfo, rgb: [u8; 3]) -> gst::Buffer {
    let source = gst_video::VideoInfo::builder(gst_video::VideoFormat::Rgb, info.width(), info.height())
        .fps(info.fps())
        .build()
        .unwrap();
    let stride = source.stride()[0] as usize;
    let bytes: Vec<u8> = (0..source.size()).map(|i| *rgb.get(i % stride % 3).unwrap()).collect();
    let source = gst_video::VideoFrame::from_buffer_readable(gst::Buffer::from_mut_slice(bytes), &source).unwrap();
    convert(&source, info)
}

fn convert(source: &gst_video::VideoFrame<gst_video::video_frame::Readable>, to: &gst_video::VideoInfo) -> gst::Buffer {
    let converter = gst_video::VideoConverter::new(source.info(), to, None).unwrap();
    let buffer = gst::Buffer::with_size(to.size()).unwrap();
    let mut target = gst_video::VideoFrame::from_buffer_writable(buffer, to).unwrap();
    converter.frame(source, &mut target);
    target.into_buffer()
}

/// Red, green and blue of each pixel, by GStreamer's converter.
fn rgb(info: &gst_video::VideoInfo, buffer: &gst::Buffer) -> impl Fn(u32, u32) -> [u8; 3] + use<> {
    let to = gst_video::VideoInfo::builder(gst_video::VideoFormat::Rgb, info.width(), info.height())
        .fps(info.fps())
        .build()
        .unwrap();
    let source = gst_video::VideoFrame::from_buffer_readable(buffer.clone(), info).unwrap();
    let bytes = convert(&source, &to).map_readable().unwrap().to_vec();
    let stride = to.stride()[0] as usize;
    move |x, y| bytes[y as usize * stride + 3 * x as usize..][..3].try_into().unwrap()
}

/// Every pixel, in the format in which GStreamer unpacks it.
fn unpacked(info: &gst_video::VideoInfo, buffer: &gst::Buffer) -> Vec<Vec<u8>> {
    let format = info.format_info().unpack_format();
    let to = gst_video::VideoInfo::builder(format, info.width(), info.height()).fps(info.fps());
    let to = to.colorimetry(&info.colorimetry()).build().unwrap();
    let padded = gst_video::VideoFrame::from_buffer_readable(buffer.clone(), info).unwrap();
    // GStreamer's converter reads beyond the ends of padded planes.
    let tight = gst::Buffer::with_size(info.size()).unwrap();
    let mut tight = gst_video::VideoFrame::from_buffer_writable(tight, info).unwrap();
    padded.copy(&mut tight).unwrap();
    let source = gst_video::VideoFrame::from_buffer_readable(tight.into_buffer(), info).unwrap();
    let bytes = convert(&source, &to).map_readable().unwrap().to_vec();
    let row = to.format_info().pixel_stride()[0] as usize * info.width() as usize;
    bytes.chunks_exact(to.stride()[0] as usize).map(|line| line[..row].to_vec()).collect()
}

/// The frame after the overlay.
fn drawn(harness: &mut Harness, info: &gst_video::VideoInfo, mut buffer: gst::Buffer, scores: &Scores) -> gst::Buffer {
    harness.set_src_caps(info.to_caps().unwrap());
    scores.attach(buffer.make_mut()).unwrap();
    harness.push_and_pull(buffer).unwrap()
}

#[test]
fn every_format_is_drawn_on_where_it_should_be_and_nowhere_else() {
    for format in PixelFormat::ALL {
        // GStreamer's converter crashes on packed formats of odd width.
        let odd = if format.planes() == 1 && format.subsampling().0 == 2 { 334 } else { 333 };
        for (width, height, padding) in [(320, 240, 0), (odd, 251, 48)] {
            let what = format!("{} {width}x{height}", format.name());
            let info = info(format, width, height, None);
            let before = noise(&info, padding);
            let untouched = before.copy_deep().unwrap();
            let after = drawn(&mut harness(&[]), &info, before, &one_fake());

            let (left, right) = ((BOX.x * width as f32) as usize, (BOX.right() * width as f32) as usize);
            let (top, bottom) = ((BOX.y * height as f32) as usize, (BOX.bottom() * height as f32) as usize);
            let (old, new) = (unpacked(&info, &untouched), unpacked(&info, &after));
            let bytes = old[0].len() / width as usize;
            let changed = |x: usize, y: usize| old[y][x * bytes..][..bytes] != new[y][x * bytes..][..bytes];
            for (x, y) in [
                (left - 1, (top + bottom) / 2),
                (right + 1, (top + bottom) / 2),
                ((left + right) / 2, top - 1),
                ((left + right) / 2, bottom + 1),
            ] {
                assert!(changed(x, y), "{what}: the box at {x},{y}");
            }
            assert!((left..right).any(|x| changed(x, top - 12)), "{what}: the label");
            assert!(changed((left + right) / 2, (top + bottom) / 2), "{what}: the map");
            // The map lies over the box grown by a third; the label is above it and may be wider.
            let grown = |length: usize| length / 3 + 8;
            let far =
                |x: usize, y: usize| x + grown(right - left) < left || y + 50 < top || y > bottom + grown(bottom - top);
            for y in 0..height as usize {
                for x in (0..width as usize).filter(|&x| far(x, y)) {
                    assert!(!changed(x, y), "{what}: {x},{y}");
                }
            }
            // What lies between the rows belongs to somebody else.
            let (old, new) = (untouched.map_readable().unwrap(), after.map_readable().unwrap());
            let meta = after.meta::<gst_video::VideoMeta>().unwrap();
            for plane in 0..format.planes() {
                let (offset, stride) = (meta.offset()[plane], meta.stride()[plane] as usize);
                let used = info.stride()[plane] as usize;
                for row in 0..format.rows(plane, height as usize) {
                    let start = offset + row * stride;
                    assert_eq!(old[start + used..start + stride], new[start + used..start + stride], "{what}");
                }
            }
        }
    }
}

#[test]
fn colours_are_right_whatever_the_format_range_and_matrix() {
    let properties = [("show-map", "false"), ("show-labels", "false"), ("line-width", "16")];
    for format in PixelFormat::ALL {
        let gray = format == PixelFormat::Gray8;
        let rgb_format = info(format, 64, 64, None).is_rgb();
        let colorimetries: &[Option<&str>] = match (gray, rgb_format) {
            (false, false) => &[Some("bt601"), Some("bt709"), Some("bt2020"), Some("1:3:5:1"), Some("1:4:0:0")],
            _ => &[None],
        };
        for colorimetry in colorimetries {
            let info = info(format, 320, 240, *colorimetry);
            let gray_frame = plain(&info, [128; 3]);
            let after = drawn(&mut harness(&properties), &info, gray_frame, &one_fake());
            let rgb = rgb(&info, &after);
            let expected = match gray {
                true => [0.299 * 226.0 + 0.587 * 43.0 + 0.114 * 38.0; 3],
                false => FAKE.map(f64::from),
            };
            // In the middle of the line, where no chroma sample has pixels beside it.
            let (x, y) = ((BOX.x * 320.0) as u32 - 8, ((BOX.y + BOX.h / 2.0) * 240.0) as u32);
            for (seen, expected) in rgb(x, y).into_iter().zip(expected) {
                assert!(
                    (f64::from(seen) - expected).abs() <= 6.0,
                    "{} {colorimetry:?}: {:?} for {expected}",
                    format.name(),
                    rgb(x, y)
                );
            }
            // Inside of the box nothing is drawn.
            let inside = rgb(((BOX.x + BOX.w / 2.0) * 320.0) as u32, y);
            assert!(inside.iter().all(|v| v.abs_diff(128) <= 4), "{} {inside:?}", format.name());
        }
    }
}

#[test]
fn in_hdr_graphics_are_as_bright_as_paper() {
    for (colorimetry, white) in [("bt2100-pq", 0.58), ("bt2100-hlg", 0.75)] {
        let info = info(PixelFormat::P010Le, 320, 240, Some(colorimetry));
        let properties = [("show-map", "false"), ("show-labels", "false"), ("line-width", "16")];
        let black = gst::Buffer::from_mut_slice(vec![0u8; info.size()]);
        let after = drawn(&mut harness(&properties), &info, black, &one_fake());
        let frame = gst_video::VideoFrameRef::from_buffer_ref_readable(&after, &info).unwrap();
        let (x, y) = (152, (0.525 * 240.0) as usize);
        let at = y * frame.plane_stride()[0] as usize + 2 * x;
        let luma = u16::from_le_bytes(frame.plane_data(0).unwrap()[at..at + 2].try_into().unwrap()) >> 6;
        let [r, g, b] = FAKE.map(|v| f64::from(v) / 255.0);
        let expected = 64.0 + 876.0 * white * (0.2627 * r + 0.678 * g + 0.0593 * b);
        assert!((f64::from(luma) - expected).abs() < 1.5, "{colorimetry}: {luma}, not {expected}");
    }
}

#[test]
fn verdicts_have_their_colours() {
    let info = info(PixelFormat::Rgb, 320, 240, None);
    let properties = [("show-map", "false"), ("show-labels", "false"), ("line-width", "8")];
    let colour = |face| {
        let frame = gst::Buffer::from_mut_slice(vec![0u8; info.size()]);
        let after = drawn(&mut harness(&properties), &info, frame, &results::scores(0, vec![face]));
        rgb(&info, &after)((BOX.x * 320.0) as u32 - 4, 126)
    };
    let of = |verdict| colour(results::face(0, BOX, verdict, 0.5));
    let [red, green, amber] = [Verdict::Fake, Verdict::Real, Verdict::Undecided].map(of);
    let gray = colour(results::unscored(0, BOX, deepfake_scoring::score::NotScored::TooMany));
    assert!(red[0] > 200 && red[1] < 80, "{red:?}");
    assert!(green[1] > 120 && green[0] < 80, "{green:?}");
    assert!(amber[0] > 200 && (120..220).contains(&amber[1]) && amber[2] < 80, "{amber:?}");
    assert!(gray[0].abs_diff(gray[1]) < 16 && gray[1].abs_diff(gray[2]) < 16, "{gray:?}");
}

#[test]
fn on_a_transparent_frame_only_what_is_drawn_is_seen() {
    for format in [PixelFormat::Rgba, PixelFormat::Argb] {
        let info = info(format, 320, 240, None);
        let properties = [("show-map", "false"), ("show-labels", "false"), ("line-width", "8")];
        // Green that nobody sees.
        let pixel: [u8; 4] = if format == PixelFormat::Rgba { [0, 255, 0, 0] } else { [0, 0, 255, 0] };
        let frame = gst::Buffer::from_mut_slice(pixel.repeat(320 * 240));
        let after = drawn(&mut harness(&properties), &info, frame, &one_fake());
        let map = after.map_readable().unwrap();
        let at = |x: usize| {
            let p: [u8; 4] = map[(126 * 320 + x) * 4..][..4].try_into().unwrap();
            if format == PixelFormat::Rgba { p } else { [p[1], p[2], p[3], p[0]] }
        };
        assert_eq!(at(156), [226, 43, 38, 255]);
        // The shadow beside the line is black without a trace of green.
        let shadow = at(150);
        assert!(shadow[3] > 90 && shadow[3] < 140 && shadow[..3] == [0, 0, 0], "{shadow:?}");
        assert_eq!(at(100), [0, 255, 0, 0]);
    }
}

#[test]
fn fields_keep_to_themselves() {
    // Chroma of the lines of one field only must not reach into the other's.
    let format = gst_video::VideoFormat::I420;
    let info = gst_video::VideoInfo::builder(format, 320, 240)
        .interlace_mode(gst_video::VideoInterlaceMode::Interleaved)
        .build()
        .unwrap();
    let properties = [("show-map", "false"), ("show-labels", "false"), ("line-width", "1")];
    let before = gst::Buffer::from_mut_slice(vec![128u8; info.size()]);
    let bbox = Rect { y: 98.0 / 240.0, ..BOX };
    let scores = results::scores(0, vec![results::face(0, bbox, Verdict::Fake, 0.9)]);
    let after = drawn(&mut harness(&properties), &info, before, &scores);
    let map = after.map_readable().unwrap();
    // The line above the box is row 97: of the bottom field, whose rows 97 and 99 share chroma row 49.
    let chroma = |row: usize| map[320 * 240 + row * 160 + 90];
    let rows: Vec<usize> = (40..60).filter(|&row| chroma(row) != 128).collect();
    assert_eq!(rows, [49]);
}

#[test]
fn frames_without_faces_pass_as_they_are() {
    let info = info(PixelFormat::I420, 320, 240, None);
    let mut harness = harness(&[]);
    harness.set_src_caps(info.to_caps().unwrap());
    for scores in [None, Some(results::scores(0, Vec::new()))] {
        let mut buffer = gst::Buffer::with_size(info.size()).unwrap();
        if let Some(scores) = scores {
            scores.attach(buffer.get_mut().unwrap()).unwrap();
        }
        // Somebody else holds it too: making it writable would copy it.
        let held = buffer.clone();
        let out = harness.push_and_pull(buffer).unwrap();
        assert_eq!(out.as_ptr(), held.as_ptr());
    }
}

#[test]
fn what_others_hold_is_not_drawn_on() {
    let info = info(PixelFormat::Nv12, 320, 240, None);
    let mut buffer = noise(&info, 0);
    one_fake().attach(buffer.get_mut().unwrap()).unwrap();
    let held = buffer.clone();
    let bytes = held.map_readable().unwrap().to_vec();
    let mut harness = harness(&[]);
    harness.set_src_caps(info.to_caps().unwrap());
    let out = harness.push_and_pull(buffer).unwrap();
    assert!(held.map_readable().unwrap()[..] == bytes[..]);
    assert!(out.map_readable().unwrap()[..] != bytes[..]);
    assert!(Scores::from_buffer(&out).is_some());
}

#[test]
fn faces_whose_place_is_not_known_are_told_once() {
    let info = info(PixelFormat::I420, 320, 240, None);
    let mut harness = harness(&[]);
    let bus = gst::Bus::new();
    harness.element().unwrap().set_bus(Some(&bus));
    let mut lost = one_fake();
    lost.faces[0].bbox = None;
    lost.faces[0].outcome.as_mut().unwrap().map.as_mut().unwrap().region = None;
    for _ in 0..3 {
        let before = noise(&info, 0);
        let bytes = before.map_readable().unwrap().to_vec();
        let after = drawn(&mut harness, &info, before, &lost);
        assert!(after.map_readable().unwrap()[..] == bytes[..]);
    }
    let warnings = bus.iter().filter(|m| m.type_() == gst::MessageType::Warning).count();
    assert_eq!(warnings, 1);
}

#[test]
fn each_part_can_be_turned_off() {
    let info = info(PixelFormat::Bgrx, 640, 360, None);
    let changed = |properties: &[(&str, &str)]| {
        let before = gst::Buffer::from_mut_slice(vec![77u8; info.size()]);
        let after = drawn(&mut harness(properties), &info, before, &one_fake());
        after.map_readable().unwrap().chunks(4).filter(|p| p[..3] != [77; 3]).count()
    };
    let off = [("show-boxes", "false"), ("show-labels", "false"), ("show-map", "false")];
    assert_eq!(changed(&off), 0);
    let alone = |on: usize| {
        let mut properties = off;
        properties[on].1 = "true";
        changed(&properties)
    };
    let [boxes, labels, map] = [0, 1, 2].map(alone);
    assert!(boxes > 500 && labels > 500 && map > boxes, "{boxes} {labels} {map}");
    assert_eq!(changed(&[off[0], off[1], ("show-map", "true"), ("map-opacity", "0")]), 0);
    assert!(changed(&[off[1], off[2], ("line-width", "20")]) > 2 * boxes);
}

#[test]
fn streams_may_change_flush_lack_times_and_end() {
    let mut harness = harness(&[]);
    for (format, width, height) in [(PixelFormat::I420, 320, 240), (PixelFormat::V210, 1280, 720)] {
        let info = info(format, width, height, None);
        let out = drawn(&mut harness, &info, noise(&info, 0), &one_fake());
        assert_eq!(out.pts(), None);
        harness.push_event(gst::event::FlushStart::new());
        harness.push_event(gst::event::FlushStop::new(true));
        harness.push_event(gst::event::Segment::new(&gst::FormattedSegment::<gst::ClockTime>::new()));
    }
    assert!(harness.push_event(gst::event::Eos::new()));
    while harness.pull_event().unwrap().type_() != gst::EventType::Eos {}
}

#[test]
fn a_buffer_that_is_no_frame_is_an_error() {
    let mut harness = harness(&[]);
    let bus = gst::Bus::new();
    harness.element().unwrap().set_bus(Some(&bus));
    harness.set_src_caps(info(PixelFormat::I420, 320, 240, None).to_caps().unwrap());
    let mut buffer = gst::Buffer::with_size(100).unwrap();
    one_fake().attach(buffer.get_mut().unwrap()).unwrap();
    assert_eq!(harness.push(buffer), Err(gst::FlowError::Error));
    assert!(bus.pop_filtered(&[gst::MessageType::Error]).is_some());
}

#[test]
fn everything_is_described() {
    results::init();
    results::assert_described("deepfakeoverlay");
}
