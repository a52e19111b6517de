//! Which faces go where.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use deepfake_trainer::data::{Face, Label, Order, Pairing, scan, split};
use proptest::prelude::*;
use support::write_faces;

fn face(source: &str, label: Label, number: usize) -> Face {
    let path = PathBuf::from(format!("{}/{source}_{number}.png", label.folder()));
    Face { path, label, source: source.to_owned(), video: format!("{source}-{number}") }
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
        for pairing in [Pairing::Source, Pairing::None] {
            let order = Order::new(&faces, pairing, 7);
            let batches = order.epoch(epoch, batch);
            prop_assert_eq!(batches.len(), order.steps(batch));
            let mut shown = BTreeSet::new();
            for indices in &batches {
                let (real, fake) = indices.split_at(indices.len() / 2);
                for (r, f) in real.iter().zip(fake) {
                    prop_assert_eq!((faces[*r].label, faces[*f].label), (Label::Real, Label::Fake));
                    prop_assert!(shown.insert(*r));
                    let has = faces.iter().any(|x| x.label == Label::Fake && x.source == faces[*r].source);
                    if pairing == Pairing::Source && has {
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
    let order = Order::new(&faces, Pairing::Source, 1);
    assert_ne!(order.epoch(0, 8), order.epoch(1, 8));
    assert_ne!(order.epoch(0, 8), Order::new(&faces, Pairing::Source, 2).epoch(0, 8));
    assert_eq!(order.unseen(), 0);
}

#[test]
fn fakes_without_a_real_face_of_their_source_are_counted() {
    let mut faces = vec![face("a", Label::Real, 0), face("a", Label::Fake, 0), face("b", Label::Fake, 0)];
    assert_eq!(Order::new(&faces, Pairing::Source, 1).unseen(), 1);
    assert_eq!(Order::new(&faces, Pairing::None, 1).unseen(), 0);
    // A real face without a fake of its own takes them.
    faces.push(face("c", Label::Real, 0));
    assert_eq!(Order::new(&faces, Pairing::Source, 1).unseen(), 0);
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
