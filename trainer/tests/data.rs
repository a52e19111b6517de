//! Which faces go where.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use deepfake_trainer::config::{Data, NearDuplicates};
use deepfake_trainer::data::duplicates::{self, Print, pairs};
use deepfake_trainer::data::{Face, Label, Order, Part, Picture, scan, split};
use image::{Rgb, RgbImage, imageops};
use proptest::prelude::*;
use rand::RngExt;
use support::write_faces;

fn face(source: &str, label: Label, number: usize) -> Face {
    let path = PathBuf::from(format!("{}/{source}_{number}.png", label.folder()));
    Face::new(path, label, source.to_owned(), format!("{source}-{number}"))
}

fn order(faces: &[Face], more: &str, seed: u64) -> Order {
    let data: Data = toml::from_str(&format!("folders = []\n{more}")).unwrap();
    Order::new(faces, &data, seed)
}

/// Sources with any number of real and fake faces each.
fn faces() -> impl Strategy<Value = Vec<Face>> {
    prop::collection::vec((0usize..4, 0usize..4), 2..60).prop_map(|counts| {
        let mut faces = Vec::new();
        for (i, (real, fake)) in counts.into_iter().enumerate() {
            faces.extend((0..real).map(|n| face(&format!("v{i}"), Label::Real, n)));
            faces.extend((0..fake).map(|n| face(&format!("v{i}"), Label::Fake, n)));
        }
        faces
    })
}

fn sources(faces: &[Face]) -> BTreeSet<&str> {
    faces.iter().map(|f| f.source.as_str()).collect()
}

proptest! {
    #[test]
    fn no_source_is_in_both_parts(faces in faces(), share in 0.01f64..0.5, seed: u64) {
        let all = faces.len();
        if let Ok(parts) = split(faces, share, seed, 0) {
            prop_assert!(sources(&parts.train).is_disjoint(&sources(&parts.validation)));
            prop_assert_eq!(parts.train.len() + parts.validation.len(), all);
        }
    }

    #[test]
    fn an_epoch_shows_every_real_face_once_and_beside_a_fake(faces in faces(), epoch in 0usize..5, batch in 1usize..5) {
        prop_assume!(faces.iter().any(|f| f.label == Label::Real) && faces.iter().any(|f| f.label == Label::Fake));
        let batch = 2 * batch;
        for pairs in [true, false] {
            let order = order(&faces, &format!("pairs = {pairs}"), 7);
            let batches = order.epoch(epoch, batch);
            prop_assert_eq!(batches.len(), order.steps(batch));
            let mut shown = BTreeSet::new();
            for indices in &batches {
                let (real, fake) = indices.split_at(indices.len() / 2);
                for (r, f) in real.iter().zip(fake) {
                    prop_assert_eq!((faces[*r].label, faces[*f].label), (Label::Real, Label::Fake));
                    prop_assert!(shown.insert(*r));
                    let has = faces.iter().any(|x| x.label == Label::Fake && x.source == faces[*r].source);
                    if pairs && has {
                        prop_assert_eq!(&faces[*r].source, &faces[*f].source);
                    }
                }
            }
            let real = faces.iter().filter(|f| f.label == Label::Real).count();
            prop_assert!(real - shown.len() < batch / 2 || shown.len() == real);
            prop_assert_eq!(order.epoch(epoch, batch), batches);
        }
    }
}

#[test]
fn a_source_stays_in_its_part_when_others_come() {
    let of = |n: usize| -> Vec<Face> {
        (0..n).flat_map(|i| [Label::Real, Label::Fake].map(|l| face(&format!("v{i}"), l, 0))).collect()
    };
    let part = |faces: Vec<Face>| -> BTreeMap<String, bool> {
        let parts = split(faces, 0.3, 1, 0).unwrap();
        let train = parts.train.into_iter().map(|f| (f.source, true));
        train.chain(parts.validation.into_iter().map(|f| (f.source, false))).collect()
    };
    let (few, many) = (part(of(200)), part(of(210)));
    let moved = few.iter().filter(|(source, train)| many[*source] != **train).count();
    // The border moves with the number of sources, the order does not.
    assert!(moved <= 5, "{moved} of 200 sources moved");
}

#[test]
fn epochs_and_seeds_differ() {
    let faces: Vec<Face> =
        (0..40).flat_map(|i| [Label::Real, Label::Fake].map(|l| face(&format!("v{i}"), l, 0))).collect();
    let first = order(&faces, "", 1);
    assert_ne!(first.epoch(0, 8), first.epoch(1, 8));
    assert_ne!(first.epoch(0, 8), order(&faces, "", 2).epoch(0, 8));
    assert_eq!(first.unseen(), 0);
}

#[test]
fn fakes_without_a_real_face_of_their_source_are_counted() {
    let mut faces = vec![face("a", Label::Real, 0), face("a", Label::Fake, 0), face("b", Label::Fake, 0)];
    assert_eq!(order(&faces, "", 1).unseen(), 1);
    assert_eq!(order(&faces, "pairs = false", 1).unseen(), 0);
    // A real face without a fake of its own takes them.
    faces.push(face("c", Label::Real, 0));
    assert_eq!(order(&faces, "", 1).unseen(), 0);
}

/// How often each face of `kind` is shown in `epochs`.
fn shown(order: &Order, faces: &[Face], epochs: usize, batch: usize, kind: Label) -> Vec<usize> {
    let mut counts = vec![0; faces.len()];
    for i in (0..epochs).flat_map(|e| order.epoch(e, batch)).flatten() {
        counts[i] += 1;
    }
    (0..faces.len()).filter(|&i| faces[i].label == kind).map(|i| counts[i]).collect()
}

/// `methods` says, per method, how many faces each of its videos has; all of one source.
fn forged(source: &str, methods: &[&[usize]]) -> Vec<Face> {
    let mut faces = Vec::new();
    for (m, videos) in methods.iter().enumerate() {
        for (v, &n) in videos.iter().enumerate() {
            faces.extend((0..n).map(|i| Face {
                method: format!("m{m}"),
                video: format!("{source}-m{m}-v{v}"),
                ..face(source, Label::Fake, 1000 * m + 100 * v + i)
            }));
        }
    }
    faces
}

#[test]
fn every_fake_of_four_has_its_turn() {
    // Four fakes a real face: after four epochs each was shown once, after eight twice.
    let mut faces = vec![face("a", Label::Real, 0), face("b", Label::Real, 0)];
    faces.extend(["a", "b"].iter().flat_map(|s| forged(s, &[&[1], &[1], &[1], &[1]])));
    for pairs in ["pairs = true", "pairs = false"] {
        let order = order(&faces, pairs, 3);
        assert_eq!(shown(&order, &faces, 4, 4, Label::Fake), [1; 8], "{pairs}");
        assert_eq!(shown(&order, &faces, 8, 4, Label::Fake), [2; 8], "{pairs}");
        assert_eq!(shown(&order, &faces, 8, 4, Label::Real), [8; 2], "{pairs}");
    }
}

#[test]
fn methods_then_videos_then_faces_are_shown_equally_often() {
    let real: Vec<Face> = (0..12).map(|i| face("a", Label::Real, i)).collect();
    // One method with a long and a short video, one with a single face.
    let methods: [&[usize]; 2] = [&[6, 2], &[1]];
    let mut faces = real;
    faces.extend(forged("a", &methods));
    let order = order(&faces, "", 5);
    // 24 draws: 12 a method, 6 a video of the first.
    let counts = shown(&order, &faces, 2, 24, Label::Fake);
    assert_eq!(counts, [1, 1, 1, 1, 1, 1, 3, 3, 12]);
}

#[test]
fn a_long_video_has_its_share_of_an_epoch() {
    let mut faces = Vec::new();
    for (video, n) in [("long", 11), ("short", 2)] {
        faces.extend((0..n).map(|i| Face { video: video.to_owned(), ..face(video, Label::Real, i) }));
        faces.push(face(video, Label::Fake, 0));
    }
    let order = order(&faces, "faces_per_video = 3", 1);
    assert_eq!(order.steps(2), 5);
    let one = shown(&order, &faces, 1, 2, Label::Real);
    assert_eq!((one[..11].iter().sum::<usize>(), one[11..].iter().sum::<usize>()), (3, 2));
    // Three epochs take other faces each, two are left over; none twice in an epoch.
    let three = shown(&order, &faces, 3, 2, Label::Real);
    assert_eq!(three[..11].iter().filter(|&&n| n == 1).count(), 9);
    assert!((0..20).all(|e| order.epoch(e, 2).iter().flatten().filter(|&&i| i < 11).count() == 3));
    let many = shown(&order, &faces, 60, 2, Label::Real);
    assert!(many[..11].iter().all(|&n| n > 5), "{many:?}");
}

#[test]
fn uneven_data_is_shown_as_it_is_and_weighed() {
    let mut faces = vec![face("a", Label::Real, 0), face("b", Label::Real, 0)];
    faces.extend(["a", "b"].iter().flat_map(|s| forged(s, &[&[1], &[1], &[1]])));
    let weighted = order(&faces, "pairs = false\nbalance = \"weighted\"", 1);
    assert_eq!(weighted.steps(4), 2);
    assert_eq!(shown(&weighted, &faces, 3, 4, Label::Real), [3; 2]);
    assert_eq!(shown(&weighted, &faces, 3, 4, Label::Fake), [3; 6]);
    assert_ne!(weighted.epoch(0, 4), weighted.epoch(1, 4));
    // 2 real and 6 fakes: eight faces, four for each class.
    assert_eq!(weighted.class_weights(), Some((2.0, 4.0 / 6.0)));
    let natural = order(&faces, "pairs = false\nbalance = \"natural\"", 1);
    assert_eq!((natural.class_weights(), natural.epoch(2, 4)), (None, weighted.epoch(2, 4)));
    assert_eq!(order(&faces, "", 1).class_weights(), None);
}

#[test]
fn folders_are_scanned_by_class_and_source() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path().to_owned();
    write_faces(&folder, 3);
    std::fs::write(folder.join("real/notes.txt"), "not a picture").unwrap();
    std::fs::write(folder.join("real/alone.JPG"), "found by its name").unwrap();
    let faces = scan(std::slice::from_ref(&folder)).unwrap();
    let found: Vec<_> = faces.iter().map(|f| (f.label, f.source.as_str())).collect();
    let (r, f) = (Label::Real, Label::Fake);
    assert_eq!(found, [(r, "alone"), (r, "s000"), (r, "s001"), (r, "s002"), (f, "s000"), (f, "s001"), (f, "s002")]);
    let error = scan(&[folder.join("real")]).unwrap_err().to_string();
    assert!(error.contains("no pictures"), "{error}");
}

#[test]
fn the_owners_split_is_honoured() {
    let part = |source: &str, set: &str, part: Option<Part>| {
        [Label::Real, Label::Fake].map(|l| Face { set: set.to_owned(), part, ..face(source, l, 0) })
    };
    let (train, validation, test) = (Some(Part::Train), Some(Part::Validation), Some(Part::Test));
    let faces: Vec<Face> = [
        part("a", "ff", train),
        part("b", "ff", train),
        part("c", "ff", validation),
        part("d", "ff", test),
        part("e", "celeb", train),
        part("f", "celeb", train),
        part("g", "celeb", test),
        part("h", "", None),
        part("i", "", None),
    ]
    .into_iter()
    .flatten()
    .collect();
    for seed in 0..20 {
        let parts = split(faces.clone(), 0.5, seed, 0).unwrap();
        let (t, v) = (sources(&parts.train), sources(&parts.validation));
        assert!(t.contains("a") && t.contains("b") && v.contains("c"));
        assert!(![&t, &v].into_iter().any(|s| s.contains("d") || s.contains("g")));
        // Where the owners name no validation part, ours is drawn: of four sources two.
        assert_eq!((t.len(), v.len()), (4, 3));
    }
    let torn: Vec<Face> =
        [part("a", "ff", train), part("a", "ff", validation)].into_iter().flatten().chain(faces).collect();
    let error = split(torn, 0.5, 1, 0).unwrap_err().to_string();
    assert!(error.contains("put the source a"), "{error}");
}

#[test]
fn a_part_of_one_class_is_told() {
    let faces = [face("a", Label::Real, 0), face("a", Label::Fake, 0), face("b", Label::Real, 0)];
    let told: BTreeSet<_> = (0..20).map(|seed| split(faces.to_vec(), 0.5, seed, 0).unwrap_err().to_string()).collect();
    // Whichever part has got the one fake.
    assert_eq!(told.len(), 2, "{told:?}");
    for (text, part) in told.iter().zip(["training", "validation"]) {
        assert!(text.contains(&format!("{part} part has no fake face")) && text.contains("give more"), "{text}");
    }
}

/// A picture of random smooth waves: as unlike others as faces are not.
fn picture(seed: u64) -> RgbImage {
    let mut rng = deepfake_trainer::seeded::generator(seed, "waves", &[]);
    let waves: Vec<[f64; 4]> = (0..6)
        .map(|_| {
            [
                rng.random_range(-0.12..0.12),
                rng.random_range(-0.12..0.12),
                rng.random_range(0.0..6.0),
                rng.random_range(8.0..30.0),
            ]
        })
        .collect();
    RgbImage::from_fn(96, 96, |x, y| {
        let v: f64 = waves.iter().map(|[a, b, c, d]| d * (a * f64::from(x) + b * f64::from(y) + c).sin()).sum();
        Rgb([(128.0 + v).clamp(0.0, 255.0) as u8; 3])
    })
}

fn print(image: &RgbImage) -> Print {
    Print::of(&Picture::from(image.clone())).unwrap()
}

#[test]
fn a_picture_is_near_to_itself_however_it_is_stored() {
    for seed in 0..30 {
        let original = picture(seed);
        let smaller = imageops::resize(&original, 61, 61, imageops::FilterType::Triangle);
        let brighter = RgbImage::from_fn(96, 96, |x, y| {
            original.get_pixel(x, y).0.map(|v| (f64::from(v) * 0.8 + 30.0) as u8).into()
        });
        let mut jpeg = Vec::new();
        image::codecs::jpeg::JpegEncoder::new_with_quality(&mut jpeg, 40).encode_image(&original).unwrap();
        let coded = image::load_from_memory(&jpeg).unwrap().into_rgb8();
        for (what, other) in [("smaller", smaller), ("brighter", brighter), ("coded", coded)] {
            let (a, b) = (print(&original), print(&other));
            assert!(a.is_near(&b), "{seed} {what}: {} {}", (a.hash ^ b.hash).count_ones(), a.correlation(&b));
        }
    }
}

#[test]
fn different_pictures_are_not_near() {
    let prints: Vec<Option<Print>> = (100..400).map(|seed| Some(print(&picture(seed)))).collect();
    let (a, b) = prints.split_at(150);
    assert_eq!(pairs(a, b), []);
    // Nor are the generated faces of two people, who are discs with eyes and a mouth all, nor pictures of one colour.
    let folder = tempfile::tempdir().unwrap();
    write_faces(folder.path(), 60);
    let faces = scan(&[folder.path().to_owned()]).unwrap();
    let found = duplicates::prints(&faces);
    let false_alarms: Vec<_> =
        pairs(&found, &found).into_iter().filter(|&(i, j)| faces[i].source != faces[j].source).collect();
    assert!(false_alarms.len() <= 2, "{false_alarms:?}");
    let plain = print(&RgbImage::from_pixel(20, 20, Rgb([9; 3])));
    assert!(!plain.is_near(&plain));
}

#[test]
fn near_duplicates_across_the_split_are_named_moved_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    write_faces(folder.path(), 12);
    let all = || split(scan(&[folder.path().to_owned()]).unwrap(), 0.34, 1, 0).unwrap();
    let clean = duplicates::resolve(all(), NearDuplicates::Warn).unwrap().1.len();
    // The picture of a training face, again under the name of a source that is kept for validation.
    let (known, kept) = (all().train[0].clone(), all().validation[0].source.clone());
    let copy = folder.path().join(format!("real/{kept}_again.png"));
    std::fs::copy(&known.path, &copy).unwrap();

    let (_, found) = duplicates::resolve(all(), NearDuplicates::Warn).unwrap();
    assert!(found.len() > clean && found.iter().any(|(t, v)| t.path == known.path && v.path == copy));
    assert!(duplicates::told(&found).contains("_again.png"));
    let error = duplicates::resolve(all(), NearDuplicates::Fail).unwrap_err().to_string();
    assert!(error.contains("_again.png") && error.contains("move"), "{error}");
    let before = all();
    let (moved, _) = duplicates::resolve(all(), NearDuplicates::Move).unwrap();
    assert!(sources(&moved.train).contains(kept.as_str()) && !sources(&moved.validation).contains(kept.as_str()));
    assert_eq!(moved.train.len() + moved.validation.len(), before.train.len() + before.validation.len());
    assert_eq!(duplicates::resolve(moved, NearDuplicates::Fail).unwrap().1, []);
    assert!(duplicates::resolve(all(), NearDuplicates::Ignore).unwrap().1.is_empty());
}

#[test]
fn few_real_faces_are_taken_for_each_other() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/faces/dfdc/eval");
    if !folder.is_dir() {
        eprintln!("skipped: {} is not here", folder.display());
        return;
    }
    let faces = scan(&[folder]).unwrap();
    let start = std::time::Instant::now();
    let prints = duplicates::prints(&faces);
    let printed = start.elapsed();
    let found = pairs(&prints, &prints);
    let alarms: Vec<_> = found.iter().filter(|&&(i, j)| i < j && faces[i].source != faces[j].source).collect();
    let same = found.iter().filter(|&&(i, j)| i < j && faces[i].source == faces[j].source).count();
    eprintln!(
        "{} faces printed in {printed:.1?}, compared in {:.1?}: {} pairs of different sources near, {same} of the same",
        faces.len(),
        start.elapsed() - printed,
        alarms.len()
    );
    for &&(i, j) in alarms.iter().take(20) {
        let correlation = prints[i].as_ref().unwrap().correlation(prints[j].as_ref().unwrap());
        eprintln!("{} {} {correlation:.4}", faces[i].path.display(), faces[j].path.display());
    }
    // Of a million pairs of different people.
    assert!(alarms.len() <= 10, "{}", alarms.len());
}
