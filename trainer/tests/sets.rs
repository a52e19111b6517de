//! Miniatures of every data set's layout: empty files in the right places.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use deepfake_trainer::config::{Compression, Set, SetKind};
use deepfake_trainer::data::sets::{Clip, Media, list, recognize};
use deepfake_trainer::data::{Label, Part};

fn touch(root: &Path, files: &[&str]) {
    for file in files {
        let path = root.join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "").unwrap();
    }
}

fn write(root: &Path, file: &str, text: &str) {
    let path = root.join(file);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

fn set(root: &Path) -> Set {
    Set::new(None, root.to_owned())
}

fn told(set: Set) -> String {
    list(&[set]).unwrap_err().to_string()
}

/// File name to (label, source, method, part).
fn by_name(clips: &[Clip]) -> BTreeMap<String, (Label, &str, &str, Option<Part>)> {
    clips
        .iter()
        .map(|c| {
            let name = format!("{}/{}", c.method, c.path.file_name().unwrap().to_str().unwrap());
            (name, (c.label, c.source.as_str(), c.method.as_str(), c.part))
        })
        .collect()
}

fn faceforensics(root: &Path) {
    for id in ["000", "003", "071", "054", "500"] {
        touch(root, &[&format!("original_sequences/youtube/c23/videos/{id}.mp4")]);
    }
    for method in ["Deepfakes", "FaceShifter"] {
        for pair in ["000_003", "003_000", "071_054"] {
            touch(root, &[&format!("manipulated_sequences/{method}/c23/videos/{pair}.mp4")]);
        }
    }
    touch(
        root,
        &["original_sequences/youtube/c40/videos/000.mp4", "manipulated_sequences/Face2Face/c40/videos/000_003.mp4"],
    );
    write(root, "splits/train.json", r#"[["000", "003"]]"#);
    write(root, "splits/val.json", r#"[["071", "054"]]"#);
    write(root, "splits/test.json", r#"[["500", "501"]]"#);
}

#[test]
fn faceforensics_keeps_both_videos_of_a_swap_on_one_side() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    faceforensics(root);
    assert_eq!(recognize(root).unwrap(), SetKind::FaceForensics);
    let clips = list(&[set(root)]).unwrap();
    assert_eq!(clips.len(), 5 + 2 * 3);
    let found = by_name(&clips);
    let (train, validation) = (Some(Part::Train), Some(Part::Validation));
    assert_eq!(found["Deepfakes/000_003.mp4"], (Label::Fake, "youtube/000", "Deepfakes", train));
    assert_eq!(found["FaceShifter/003_000.mp4"], (Label::Fake, "youtube/000", "FaceShifter", train));
    assert_eq!(found["/003.mp4"], (Label::Real, "youtube/000", "", train));
    assert_eq!(found["/071.mp4"], (Label::Real, "youtube/054", "", validation));
    assert_eq!(found["/500.mp4"].3, Some(Part::Test));
    let videos: BTreeSet<_> = clips.iter().map(|c| &c.video).collect();
    assert_eq!(videos.len(), clips.len());
    assert!(videos.contains(&"faceforensics/Deepfakes/000_003".to_owned()));

    // One side, one method, another compression.
    let one = Set { split: validation, methods: vec!["Deepfakes".into()], ..set(root) };
    assert_eq!(by_name(&list(&[one]).unwrap()).len(), 3);
    let c40 = Set { compression: Some(Compression::C40), ..set(root) };
    assert_eq!(by_name(&list(&[c40]).unwrap()).keys().collect::<Vec<_>>(), ["/000.mp4", "Face2Face/000_003.mp4"]);
}

#[test]
fn faceforensics_that_does_not_fit_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    faceforensics(root);
    let wrong = |methods: &str| Set { methods: vec![methods.into()], ..set(root) };
    assert!(told(wrong("Deepfake")).contains("there is no method `Deepfake`"));
    let error = told(wrong("NeuralTextures"));
    assert!(error.contains("manipulated_sequences/NeuralTextures/c23"), "{error}");
    let raw = Set { compression: Some(Compression::Raw), ..set(root) };
    assert!(told(raw).contains("raw"));
    write(root, "splits/val.json", r#"[["071", "000"]]"#);
    assert!(told(set(root)).contains("video 000 is in `train` too"));
    write(root, "splits/val.json", "{}");
    assert!(told(set(root)).contains("not a list of pairs"));
    write(root, "splits/train.json", r#"[["071", "000"]]"#);
    write(root, "splits/val.json", r#"[["054", "003"]]"#);
    assert!(told(set(root)).contains("different sides"));
    std::fs::remove_dir_all(root.join("splits")).unwrap();
    let error = told(Set { split: Some(Part::Train), ..set(root) });
    assert!(error.contains("splits/train.json"), "{error}");
    // Without the files, nobody says which side.
    assert!(list(&[set(root)]).unwrap().iter().all(|c| c.part.is_none()));
}

#[test]
fn actors_who_were_swapped_with_each_other_are_one_group() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    touch(
        root,
        &[
            "original_sequences/actors/c23/videos/01__hugging_happy.mp4",
            "original_sequences/actors/c23/videos/02__hugging_happy.mp4",
            "original_sequences/actors/c23/videos/09__hugging_happy.mp4",
            "manipulated_sequences/DeepFakeDetection/c23/videos/01_02__hugging_happy__ABCDEFGH.mp4",
        ],
    );
    let clips = list(&[set(root)]).unwrap();
    let found = by_name(&clips);
    let fake = found["DeepFakeDetection/01_02__hugging_happy__ABCDEFGH.mp4"];
    assert_eq!(fake, (Label::Fake, "actor/01", "DeepFakeDetection", None));
    assert_eq!(found["/02__hugging_happy.mp4"].1, "actor/01");
    assert_eq!(found["/09__hugging_happy.mp4"].1, "actor/09");
}

#[test]
fn dfdc_fakes_belong_to_their_originals() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    for part in ["dfdc_train_part_0", "dfdc_train_part_1"] {
        touch(root, &[&format!("{part}/a{part}.mp4"), &format!("{part}/b{part}.mp4")]);
        let text = format!(
            r#"{{"a{part}.mp4": {{"label": "FAKE", "split": "train", "original": "b{part}.mp4"}},
                 "b{part}.mp4": {{"label": "REAL", "split": "train", "original": null}},
                 "elsewhere.mp4": {{"label": "REAL", "split": "train"}}}}"#
        );
        write(root, &format!("{part}/metadata.json"), &text);
    }
    assert_eq!(recognize(root).unwrap(), SetKind::Dfdc);
    let clips = list(&[set(root)]).unwrap();
    assert_eq!(clips.len(), 4);
    let found = by_name(&clips);
    assert_eq!(found["/adfdc_train_part_0.mp4"], (Label::Fake, "dfdc/bdfdc_train_part_0.mp4", "", Some(Part::Train)));
    assert_eq!(found["/bdfdc_train_part_0.mp4"].1, "dfdc/bdfdc_train_part_0.mp4");
    // One part alone.
    assert_eq!(list(&[set(&root.join("dfdc_train_part_1"))]).unwrap().len(), 2);

    let part = root.join("dfdc_train_part_1");
    touch(&part, &["new.mp4"]);
    assert!(told(set(&part)).contains("says nothing of new.mp4"));
    write(&part, "metadata.json", r#"{"new.mp4": {"split": "train"}}"#);
    touch(&part, &["new.mp4"]);
    std::fs::remove_file(part.join("adfdc_train_part_1.mp4")).unwrap();
    std::fs::remove_file(part.join("bdfdc_train_part_1.mp4")).unwrap();
    assert!(told(set(&part)).contains("new.mp4 has no label"));
    write(&part, "metadata.json", r#"{"new.mp4": {"label": "MAYBE"}}"#);
    assert!(told(set(&part)).contains("`MAYBE`"));
    std::fs::remove_file(part.join("metadata.json")).unwrap();
    let error = told(Set::new(Some(SetKind::Dfdc), part));
    assert!(error.contains("metadata.json"), "{error}");
}

#[test]
fn deeperforensics_stands_with_the_originals_of_faceforensics() {
    let folder = tempfile::tempdir().unwrap();
    let (ff, root) = (folder.path().join("ff"), folder.path().join("df"));
    faceforensics(&ff);
    touch(
        &root,
        &[
            "manipulated_videos/end_to_end/000_M101.mp4",
            "manipulated_videos/end_to_end/071_W004.mp4",
            "manipulated_videos/end_to_end/500_W004.mp4",
            "manipulated_videos/end_to_end_level_1/000_M101.mp4",
        ],
    );
    write(&root, "lists/splits/train.txt", "000_M101.mp4\n");
    write(&root, "lists/splits/val.txt", "end_to_end/071_W004.mp4\n");
    write(&root, "lists/splits/test.txt", "\n");
    assert_eq!(recognize(&root).unwrap(), SetKind::DeeperForensics);
    let with = Set { originals: Some(ff.clone()), ..set(&root) };
    let clips = list(std::slice::from_ref(&with)).unwrap();
    let found = by_name(&clips);
    assert_eq!(found["end_to_end/000_M101.mp4"].3, Some(Part::Train));
    assert_eq!((found["/000.mp4"].0, found["/000.mp4"].3), (Label::Real, Some(Part::Train)));
    assert_eq!(found["/071.mp4"].3, Some(Part::Validation));
    // The target and the actor both tie.
    assert_eq!(found["end_to_end/000_M101.mp4"].1, found["/000.mp4"].1);
    assert_eq!(found["/071.mp4"].1, found["/500.mp4"].1);
    assert_ne!(found["/071.mp4"].1, found["/000.mp4"].1);
    // Together with FaceForensics++, its originals are tied by that set's swaps too.
    let both = list(&[with.clone(), Set { name: Some("ff".into()), ..set(&ff) }]).unwrap();
    let source = |video: &str| &both.iter().find(|c| c.video == video).unwrap().source;
    assert_eq!(source("deeperforensics/end_to_end/000_M101"), source("ff/Deepfakes/003_000"));
    // They are listed once.
    assert_eq!(both.iter().filter(|c| c.label == Label::Real).count(), 5);

    assert!(told(set(&root)).contains("`originals`"));
    let error = told(Set { originals: Some(root.clone()), ..set(&root) });
    assert!(error.contains("original_sequences/youtube/c23"), "{error}");
    let error = told(Set { methods: vec!["end".into()], ..with });
    assert!(error.contains("manipulated_videos/end"), "{error}");
}

#[test]
fn celeb_df_honours_the_test_list() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    touch(
        root,
        &[
            "Celeb-real/id0_0000.mp4",
            "Celeb-real/id7_0001.mp4",
            "Celeb-real/id16_0003.mp4",
            "YouTube-real/00012.mp4",
            "Celeb-synthesis/id0_id16_0000.mp4",
        ],
    );
    write(root, "List_of_testing_videos.txt", "1 Celeb-real/id7_0001.mp4\n1 YouTube-real/00012.mp4\n");
    assert_eq!(recognize(root).unwrap(), SetKind::CelebDf);
    let clips = list(&[set(root)]).unwrap();
    let found = by_name(&clips);
    assert_eq!(found["/id0_id16_0000.mp4"], (Label::Fake, "celeb/id0", "", Some(Part::Train)));
    assert_eq!(found["/id16_0003.mp4"], (Label::Real, "celeb/id0", "", Some(Part::Train)));
    assert_eq!(found["/id7_0001.mp4"], (Label::Real, "celeb/id7", "", Some(Part::Test)));
    assert_eq!(found["/00012.mp4"].3, Some(Part::Test));
    assert_eq!(list(&[Set { split: Some(Part::Test), ..set(root) }]).unwrap().len(), 2);

    write(root, "List_of_testing_videos.txt", "0 Celeb-real/id7_0001.mp4\n");
    assert!(told(set(root)).contains("the other label"));
    write(root, "List_of_testing_videos.txt", "2 Celeb-real/id7_0001.mp4\n");
    assert!(told(set(root)).contains("neither 1 (real) nor 0 (fake)"));
    std::fs::remove_dir_all(root.join("YouTube-real")).unwrap();
    assert!(told(set(root)).contains("YouTube-real"));
}

#[test]
fn wilddeepfake_is_pictures_of_sequences() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    touch(
        root,
        &[
            "deepfake_in_the_wild/real_train/1/real/0/1.png",
            "deepfake_in_the_wild/real_train/1/real/0/2.png",
            "deepfake_in_the_wild/real_train/1/real/3/1.png",
            "deepfake_in_the_wild/fake_test/1/fake/0/1.png",
            "deepfake_in_the_wild/fake_test/9/9/fake/0/1.png",
        ],
    );
    assert_eq!(recognize(root).unwrap(), SetKind::WildDeepfake);
    let clips = list(&[set(root)]).unwrap();
    assert_eq!(clips.len(), 5);
    assert!(clips.iter().all(|c| c.media == Media::Picture));
    let videos: BTreeSet<_> = clips.iter().map(|c| c.video.as_str()).collect();
    assert_eq!(videos.len(), 4);
    // A real and a fake video of one number have nothing to do with each other.
    let sources: BTreeSet<_> = clips.iter().map(|c| c.source.as_str()).collect();
    assert_eq!(sources.into_iter().collect::<Vec<_>>(), ["wild/fake_test/1", "wild/fake_test/9", "wild/real_train/1"]);
    assert_eq!(clips.iter().filter(|c| c.part == Some(Part::Test)).count(), 2);

    let packed = tempfile::tempdir().unwrap();
    touch(packed.path(), &["real_train/1.tar.gz"]);
    assert!(told(set(packed.path())).contains("unpack them"));
}

#[test]
fn ffiw_is_split_by_its_folders() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    touch(
        root,
        &[
            "source/train/train_00000000.mp4",
            "source/val/videos/val_00000000.mp4",
            "target/train/train_00000000.mp4",
            "target_mask/train/train_00000000.mp4",
        ],
    );
    assert_eq!(recognize(root).unwrap(), SetKind::Ffiw);
    let clips = list(&[set(root)]).unwrap();
    let parts: Vec<_> = clips.iter().map(|c| (c.label, c.part.unwrap(), c.source.as_str())).collect();
    assert_eq!(
        parts,
        [
            (Label::Real, Part::Train, "ffiw/train/train_00000000"),
            (Label::Real, Part::Validation, "ffiw/val/val_00000000"),
            (Label::Fake, Part::Train, "ffiw/train/train_00000000"),
        ]
    );
    std::fs::remove_dir_all(root.join("target")).unwrap();
    assert!(told(Set::new(Some(SetKind::Ffiw), root.to_owned())).contains("target"));
}

#[test]
fn uadfv_is_paired_by_number() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    touch(root, &["real/0000.mp4", "real/0001.mp4", "fake/0000_fake.mp4"]);
    assert_eq!(recognize(root).unwrap(), SetKind::Uadfv);
    let clips = list(&[set(root)]).unwrap();
    let found = by_name(&clips);
    assert_eq!(found["FakeAPP/0000_fake.mp4"], (Label::Fake, "uadfv/0000", "FakeAPP", None));
    assert_eq!(found["/0000.mp4"].1, "uadfv/0000");
    touch(root, &["real/other.mp4"]);
    assert!(told(Set::new(Some(SetKind::Uadfv), root.to_owned())).contains("other.mp4"));
}

#[test]
fn plain_folders_go_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    touch(root, &["real/a_1.mp4", "fake/a_2.MKV", "fake/b.png", "fake/notes.txt"]);
    assert_eq!(recognize(root).unwrap(), SetKind::Folders);
    let clips = list(&[set(root)]).unwrap();
    let sources: Vec<_> = clips.iter().map(|c| (c.media, c.label, c.source.as_str())).collect();
    assert_eq!(
        sources,
        [
            (Media::Video, Label::Fake, "folders/a"),
            (Media::Picture, Label::Fake, "folders/b"),
            (Media::Video, Label::Real, "folders/a"),
        ]
    );
}

#[test]
fn what_is_no_data_set_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let error = told(set(folder.path()));
    assert!(error.contains("no layout that is known") && error.contains("wilddeepfake"), "{error}");
    let error = told(Set::new(Some(SetKind::Folders), folder.path().to_owned()));
    assert!(error.contains("`real/` and `fake/`"), "{error}");
    let error = told(set(&folder.path().join("nowhere")));
    assert!(error.contains("No such file"), "{error}");
    for kind in SetKind::ALL {
        assert!(list(&[Set::new(Some(kind), folder.path().to_owned())]).is_err(), "{}", kind.name());
    }
    std::fs::create_dir(folder.path().join("real")).unwrap();
    assert!(told(set(folder.path())).contains("looked for videos or pictures"));
}

#[test]
fn a_set_in_the_configuration_may_be_short_or_long() {
    let folder = tempfile::tempdir().unwrap();
    let config = support::config(
        folder.path(),
        "data.sets = [{ root = \"ff\" }, { kind = \"faceforensics\", root = \"ff\", compression = \"c40\", split = \"val\", methods = [\"Deepfakes\"] },
                      { kind = \"celeb_df_v2\", root = \"c\", name = \"celeb\" }]",
    );
    let [short, long, celeb] = &config.data.sets[..] else { panic!("{:?}", config.data.sets) };
    assert_eq!((short.kind, short.root.clone()), (None, folder.path().join("ff")));
    assert_eq!((long.split, long.compression), (Some(Part::Validation), Some(Compression::C40)));
    assert_eq!(celeb.kind, Some(SetKind::CelebDf));
}
