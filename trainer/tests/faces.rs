//! Videos become crops with a manifest. The face is that of the sample which the project carries.

mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use deepfake_trainer::config::Config;
use deepfake_trainer::data::manifest::{self, Row};
use deepfake_trainer::data::{Label, Part, Picture, faces as data_faces, scan};
use deepfake_trainer::faces::{Limits, Outcome, applied, check_crop, cut};
use deepfake_trainer::video::{Options, Video};
use image::{RgbImage, imageops};
use support::video::{Writing, write_video};

/// A still of the sample, whose face is found.
fn portrait() -> &'static RgbImage {
    static PORTRAIT: OnceLock<RgbImage> = OnceLock::new();
    PORTRAIT.get_or_init(|| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../pipelines/sample/collins.mp4");
        let frame = Video::open(&path, Options::default()).unwrap().nth(62).unwrap().unwrap();
        let Picture { width, height, data } = frame.picture().unwrap();
        let whole = RgbImage::from_raw(width as u32, height as u32, data).unwrap();
        let scale = 200.0 / height as f64;
        imageops::resize(&whole, (width as f64 * scale) as u32, 200, imageops::FilterType::Triangle)
    })
}

/// The portrait moves to the right over a gray field, `step` pixels a frame.
fn moving(frames: usize, step: i64) -> impl Iterator<Item = RgbImage> {
    (0..frames).map(move |n| {
        let face = portrait();
        let mut field = RgbImage::from_pixel(face.width() + 160, 240, image::Rgb([90, 100, 110]));
        imageops::replace(&mut field, face, step * n as i64, 20);
        field
    })
}

/// Two videos of a source, one without a face, one that is none.
fn videos(root: &Path) {
    for class in ["real", "fake"] {
        std::fs::create_dir_all(root.join(class)).unwrap();
    }
    write_video(&root.join("real/a_1.mp4"), moving(12, 10), Writing::default());
    write_video(&root.join("fake/a_2.mp4"), moving(12, 5), Writing::default());
    let gray = (0..6).map(|_| RgbImage::from_pixel(160, 120, image::Rgb([90, 100, 110])));
    write_video(&root.join("real/b_1.mp4"), gray, Writing::default());
    portrait().save(root.join("fake/c_still.png")).unwrap();
}

fn config(folder: &Path, more: &str) -> Config {
    let path = folder.join("faces.toml");
    std::fs::write(
        &path,
        format!("name = \"cut\"\ndata.sets = [{{ root = \"videos\" }}]\ndata.max_unreadable = 0.3\nfaces.frames_per_video = 4\n{more}"),
    )
    .unwrap();
    Config::read(&path).unwrap()
}

fn run(folder: &Path, more: &str, limit: Option<usize>) -> Outcome {
    cut(&config(folder, more), &folder.join("crops"), Limits { clips: limit }).unwrap()
}

fn files(folder: &Path) -> BTreeSet<PathBuf> {
    let of =
        |class: &str| std::fs::read_dir(folder.join(class)).unwrap().map(|e| e.unwrap().path()).collect::<Vec<_>>();
    of("real").into_iter().chain(of("fake")).collect()
}

fn rows(folder: &Path) -> Vec<Row> {
    manifest::read(&folder.join("crops")).unwrap().unwrap()
}

#[test]
fn a_moving_face_is_cut_where_it_is() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    videos(&folder.join("videos"));
    let outcome = run(folder, "faces.margin = 0.5", None);
    assert!(outcome.finished && outcome.unreadable.is_empty(), "{outcome:?}");
    assert_eq!((outcome.clips, outcome.faces, outcome.faceless.len()), (4, 9, 1));
    assert!(outcome.faceless[0].ends_with("real/b_1.mp4"));

    let rows = rows(folder);
    let real: Vec<&Row> = rows.iter().filter(|r| r.label == "real").collect();
    assert_eq!(real.iter().map(|r| r.frame.unwrap()).collect::<Vec<_>>(), [1, 4, 7, 10]);
    for row in &real {
        assert_eq!((row.source.as_str(), row.video.as_str()), ("folders/a", "folders/real/a_1"));
        assert!((row.pts.unwrap() - row.frame.unwrap() as f64 / 25.0).abs() < 0.002);
        let picture = Picture::read(&folder.join("crops").join(&row.path)).unwrap();
        assert_eq!(picture.width, picture.height);
        // The box lies in the middle, with the margin around its longer side.
        let b = row.bbox().unwrap();
        let (side, longer) = (picture.width as f32, b.w.max(b.h));
        assert!((side - 2.0 * longer).abs() < 1.5, "{side} {longer}");
        assert!((b.center().x - side / 2.0).abs() < 1.0 && (b.center().y - side / 2.0).abs() < 1.0, "{b:?}");
        assert!(row.landmarks().is_some());
        assert!(row.confidence.unwrap() >= 0.75);
    }
    // The same face in every crop, though it moves over the frame: they hardly differ.
    let crops: Vec<RgbImage> = real
        .iter()
        .map(|r| image::open(folder.join("crops").join(&r.path)).unwrap().into_rgb8())
        .map(|c| imageops::resize(&c, 16, 16, imageops::FilterType::Triangle))
        .collect();
    for crop in &crops[1..] {
        let middle = |c: &RgbImage| -> Vec<i32> {
            imageops::crop_imm(c, 4, 4, 8, 8).to_image().into_raw().into_iter().map(i32::from).collect()
        };
        let (a, b) = (middle(&crops[0]), middle(crop));
        let mean = a.iter().zip(&b).map(|(a, b)| (a - b).abs()).sum::<i32>() as f64 / a.len() as f64;
        assert!(mean < 14.0, "{mean}");
    }
    let still = rows.iter().find(|r| r.path.contains("still")).unwrap();
    assert_eq!((still.frame, still.pts, still.label.as_str()), (None, None, "fake"));
}

#[test]
fn a_stopped_run_goes_on_and_ends_as_a_whole_one() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    videos(&folder.join("videos"));
    let whole = run(folder, "", None);
    let (all, manifest_text) =
        (files(&folder.join("crops")), std::fs::read(folder.join("crops/manifest.csv")).unwrap());
    let bytes: Vec<_> = all.iter().map(|f| std::fs::read(f).unwrap()).collect();
    std::fs::remove_dir_all(folder.join("crops")).unwrap();

    let part = run(folder, "faces.threads = 1", Some(2));
    assert!(!part.finished && part.earlier == 0);
    // Stopped in the middle of a line.
    let journal = folder.join("crops/videos.jsonl");
    let mut text = std::fs::read_to_string(&journal).unwrap();
    let lines = text.lines().count();
    text.push_str("{\"clip\": \"fol");
    std::fs::write(&journal, text).unwrap();
    let rest = run(folder, "faces.threads = 2", None);
    assert_eq!((rest.earlier, rest.finished, rest.faces), (lines, true, whole.faces));
    assert_eq!(files(&folder.join("crops")), all);
    assert_eq!(std::fs::read(folder.join("crops/manifest.csv")).unwrap(), manifest_text);
    assert!(all.iter().zip(&bytes).all(|(f, b)| std::fs::read(f).unwrap() == *b));
    // A third time there is nothing to do.
    assert_eq!(run(folder, "", None).earlier, 4);

    // Cut in another way, they would be mixed.
    let other = cut(&config(folder, "faces.margin = 0.1"), &folder.join("crops"), Limits::default()).unwrap_err();
    assert!(other.to_string().contains("other settings"), "{other}");
}

#[test]
fn the_manifest_tells_the_trainer_and_the_contract_follows() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    videos(&folder.join("videos"));
    let more = "faces.margin = 0.4\nfaces.format = \"jpeg\"\nfaces.size = 64";
    run(folder, more, None);
    let config = config(folder, more);
    assert_eq!((config.crop.margin, config.crop.shift_y), (0.4, 0.0));

    let error = data_faces(&config.data).unwrap_err().to_string();
    assert!(error.contains("cut its faces first"), "{error}");
    let config = applied(&config, &folder.join("crops"));
    let faces = data_faces(&config.data).unwrap();
    assert_eq!(faces, scan(&[folder.join("crops")]).unwrap());
    assert_eq!(faces.len(), 9);
    let first = faces.iter().find(|f| f.label == Label::Fake).unwrap();
    assert_eq!(
        (first.set.as_str(), first.source.as_str(), first.video.as_str()),
        ("folders", "folders/a", "folders/fake/a_2")
    );
    assert!(faces.iter().all(|f| Picture::read(&f.path).unwrap().width == 64));
    check_crop(&config).unwrap();
    let mut other = config.clone();
    other.crop.margin = 0.3;
    let error = check_crop(&other).unwrap_err().to_string();
    assert!(error.contains("margin 0.4") && error.contains("crop.margin"), "{error}");

    // Said twice and differently.
    std::fs::write(
        folder.join("two.toml"),
        "name = \"a\"\ndata.folders = [\"x\"]\nfaces.margin = 0.4\ncrop.margin = 0.2",
    )
    .unwrap();
    let error = Config::read(&folder.join("two.toml")).unwrap_err().to_string();
    assert!(error.contains("follows from `faces.margin`"), "{error}");
}

#[test]
fn every_face_of_a_frame_has_its_track() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    let root = folder.join("videos");
    std::fs::create_dir_all(root.join("real")).unwrap();
    let two = (0..8).map(|n| {
        let face = portrait();
        let mut field = RgbImage::from_pixel(2 * face.width() + 40, 240, image::Rgb([90, 100, 110]));
        imageops::replace(&mut field, face, n, 10);
        imageops::replace(&mut field, face, i64::from(face.width()) + 30, 30 - n);
        field
    });
    write_video(&root.join("real/two.mp4"), two, Writing::default());
    let outcome = run(folder, "faces.which = \"all\"", None);
    assert_eq!(outcome.faces, 8);
    let rows = rows(folder);
    let tracks: BTreeSet<_> = rows.iter().map(|r| r.track.unwrap()).collect();
    assert_eq!(tracks.len(), 2);
    assert_eq!(rows.iter().map(|r| &r.path).collect::<BTreeSet<_>>().len(), 8);
    for track in tracks {
        assert_eq!(rows.iter().filter(|r| r.track == Some(track)).count(), 4);
    }
}

#[test]
fn what_cannot_be_read_is_named_and_counted() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    videos(&folder.join("videos"));
    std::fs::write(folder.join("videos/fake/d_bad.mp4"), "no video").unwrap();
    let outcome = run(folder, "", None);
    assert_eq!((outcome.clips, outcome.faces, outcome.unreadable.len()), (5, 9, 1));
    assert!(outcome.unreadable[0].0.ends_with("d_bad.mp4") && outcome.finished);
    // It is tried again once it is mended.
    write_video(&folder.join("videos/fake/d_bad.mp4"), moving(4, 2), Writing::default());
    let outcome = run(folder, "", None);
    assert_eq!((outcome.earlier, outcome.faces, outcome.unreadable.len()), (4, 13, 0));

    std::fs::write(folder.join("videos/fake/e_bad.mp4"), "no video").unwrap();
    let mut strict = config(folder, "");
    strict.data.max_unreadable = 0.0;
    let error = cut(&strict, &folder.join("crops"), Limits::default()).unwrap_err().to_string();
    assert!(error.contains("1 of 6") && error.contains("e_bad.mp4"), "{error}");

    let empty = folder.join("empty");
    std::fs::create_dir_all(empty.join("real")).unwrap();
    let mut nothing = config(folder, "");
    nothing.data.sets[0].root = empty;
    assert!(cut(&nothing, &folder.join("none"), Limits::default()).is_err());
    nothing.data.sets.clear();
    let error = cut(&nothing, &folder.join("none"), Limits::default()).unwrap_err().to_string();
    assert!(error.contains("data.sets"), "{error}");
    let small =
        cut(&config(folder, "faces.min_face = 1000"), &folder.join("none"), Limits::default()).unwrap_err().to_string();
    assert!(small.contains("e_bad") || small.contains("no face of at least 1000 pixels"), "{small}");
}

#[test]
fn a_manifest_comes_back_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let mut full = Row {
        path: "real/ä, \"b\".png".into(),
        label: "real".into(),
        source: "s".into(),
        video: "v".into(),
        frame: Some(7),
        pts: Some(0.28),
        track: Some(2),
        method: "FaceSwap".into(),
        set: "ff".into(),
        part: "validation".into(),
        confidence: Some(0.75),
        ..Row::default()
    };
    let at = |x: f32, y: f32| deepfake_scoring::geometry::Point { x, y };
    let points = [at(10.5, 20.0), at(30.0, 20.25), at(20.0, 30.0), at(12.0, 40.0), at(28.0, 40.5)];
    full.set_place(&deepfake_scoring::geometry::Rect::new(5.0, 6.0, 40.5, 50.0), Some(&points));
    let bare = Row {
        path: "fake/b.png".into(),
        label: "fake".into(),
        source: "s".into(),
        video: "w".into(),
        ..Row::default()
    };
    manifest::write(folder.path(), &[full.clone(), bare.clone()]).unwrap();
    assert_eq!(manifest::read(folder.path()).unwrap().unwrap(), [full, bare]);
    let text = std::fs::read_to_string(folder.path().join("manifest.csv")).unwrap();
    assert!(text.lines().next().unwrap().contains("left_eye_x,left_eye_y"), "{text}");
    let faces = scan(&[folder.path().to_owned()]).unwrap();
    assert_eq!((faces[0].part, faces[0].landmarks), (Some(Part::Validation), Some(points)));
    assert_eq!((faces[1].part, faces[1].landmarks, faces[1].label), (None, None, Label::Fake));

    let path = folder.path().join("manifest.csv");
    std::fs::write(&path, "path,label,source,video\nreal/a.png,genuine,s,v\n").unwrap();
    assert!(scan(&[folder.path().to_owned()]).unwrap_err().to_string().contains("`genuine` is no label"));
    std::fs::write(&path, "path,label,source,video,part\nreal/a.png,real,s,v,exam\n").unwrap();
    assert!(scan(&[folder.path().to_owned()]).unwrap_err().to_string().contains("`exam` is no part"));
    // One of another make does not get in the way.
    std::fs::write(&path, "file,source_video\na,b\n").unwrap();
    support::write_faces(folder.path(), 2);
    assert_eq!(scan(&[folder.path().to_owned()]).unwrap().len(), 4);
}
