//! Configuration files: the examples, and what is refused.

mod support;

use std::path::Path;

use deepfake_trainer::Config;
use deepfake_trainer::config::Grow;
use deepfake_trainer::net::Net;
use support::{config, text};

#[test]
fn every_example_can_be_used() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.ends_with("locator.toml") {
            // Another kind of file.
            deepfake_trainer::locator::Config::read(&path).unwrap_or_else(|e| panic!("{e}"));
            continue;
        }
        if path.ends_with("proof.toml") {
            // Another one, which makes many configurations.
            let (proof, trials) = deepfake_trainer::config::Proof::read(&path).unwrap_or_else(|e| panic!("{e}"));
            assert!(trials.len() >= proof.seeds.len() * proof.arms.len());
            continue;
        }
        let config = Config::read(&path).unwrap_or_else(|e| panic!("{e}"));
        Net::blank(&config.model, &config.input).unwrap();
        names.push(config.name);
    }
    names.sort();
    let all = [
        "efficientnet_b4",
        "f3net",
        "minimal",
        "primary-regions",
        "regularized",
        "resnet18",
        "scorer",
        "synthesize",
        "vit_small",
        "xception",
    ];
    assert_eq!(names, all);
}

#[test]
fn nonsense_is_refused_by_key() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("c.toml");
    for (more, told) in [
        ("optim.epoch = 3", "unknown field `epoch`"),
        ("optim.batch = 7", "optim.batch"),
        ("optim.epochs = 0", "optim.epochs"),
        ("optim.learning_rate = nan", "optim.learning_rate"),
        ("model.backbone = \"resnet\"", "resnet"),
        ("model.stem_stride = 3", "model.stem_stride"),
        ("model.backbone = \"vgg16\"\nmodel.stem_stride = 2", "model.stem_stride` is not to be chosen for vgg16"),
        ("model.stochastic_depth = 0.1", "model.stochastic_depth` is not to be chosen for mobilenet_v3_small"),
        ("model.backbone = \"resnet18\"\nmodel.stochastic_depth = 1", "model.stochastic_depth"),
        ("augment.jpeg = 1.5", "augment.jpeg"),
        ("augment.scale = [1.2, 0.8]", "augment.scale"),
        ("augment.jpeg_quality = [0, 300]", "jpeg_quality"),
        ("crop.margin = -0.5", "crop.margin"),
        ("data.balance = \"weighted\"", "data.pairs = false"),
        ("optim.method = \"sgd\"", "sgd"),
        ("optim.rho = -1", "optim.rho"),
        ("data.pairs = false\noptim.pair_weight = 1", "optim.pair_weight"),
        ("run.device = \"tpu\"", "tpu"),
        ("data.pseudo = \"also\"\nsynthesize.sources = \"file\"", "synthesize.sources"),
        ("synthesize.per_face = 0", "synthesize.per_face"),
        ("synthesize.ratios = []", "synthesize.ratios"),
        ("synthesize.part = 1.5", "synthesize.part"),
        ("synthesize.shift = [0.1, 0.9]", "synthesize.shift"),
        ("synthesize.sources = \"folder\"", "folder"),
        ("export.variants = [\"int4\"]", "int4"),
        ("export.calibration_faces = 0", "export.calibration_faces"),
        ("augment.erase = 0.5", "unknown field `erase`"),
        ("regularize.kind = \"cutout\"", "cutout"),
        ("regularize.share = [0.5, 1.5]", "regularize.share"),
        ("regularize.maps = \"maps\"", "regularize.maps"),
        ("localize.tau2 = 0.5", "localize.tau2"),
        ("localize.grid = 100", "localize.grid"),
        ("zoo.members = [{ backbone = \"mobilenet_v3_small\", size = 16 }]", "input.size"),
        ("zoo.members = [{ backbone = \"mobilenet_v3_small\", name = \"../a\" }]", "zoo.members"),
        (
            "zoo.members = [{ backbone = \"mobilenet_v3_small\" }, { backbone = \"mobilenet_v3_small\" }]",
            "another `name`",
        ),
    ] {
        std::fs::write(&path, text(more)).unwrap();
        let error = Config::read(&path).unwrap_err();
        let error = format!("{error}: {}", std::error::Error::source(&error).map_or(String::new(), |s| s.to_string()));
        assert!(error.contains(told), "{more}: {error}");
    }
    std::fs::write(&path, "name = \"a b\"\ndata.folders = [\"x\"]").unwrap();
    assert!(Config::read(&path).unwrap_err().to_string().contains("`name`"));
    std::fs::write(&path, "name = \"a\"").unwrap();
    assert!(Config::read(&path).unwrap_err().to_string().contains("data"));
}

#[test]
fn what_a_network_cannot_see_is_refused() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("c.toml");
    for (more, told) in [
        ("model.backbone = \"vit_small\"\nmodel.width = 1.0", "`model.width` is not to be chosen for vit_small"),
        (
            "model.backbone = \"vit_base\"\nmodel.stem_stride = 1",
            "`model.stem_stride` is not to be chosen for vit_base",
        ),
        ("model.backbone = \"vit_base\"\nmodel.norm_momentum = 0.1", "`model.norm_momentum`"),
        ("model.backbone = \"f3net\"\nmodel.stem_stride = 1", "`model.stem_stride` is not to be chosen for f3net"),
        (
            "model.backbone = \"vit_small\"\ninput.size = 100",
            "`input.size` must be a multiple of 16 for vit_small, not 100",
        ),
        (
            "model.backbone = \"vit_small\"\ninput.grow = [{ until = 0.5, size = 56 }]",
            "`input.grow` must be a multiple of 16",
        ),
        (
            "model.backbone = \"f3net\"\ninput.grow = [{ until = 0.5, size = 64 }]",
            "`input.grow` is not possible with f3net",
        ),
        ("model.backbone = \"f3net\"\ninput.size = 184", "different grids: 186 will do"),
    ] {
        std::fs::write(&path, format!("name = \"a\"\ndata.folders = [\"faces\"]\n{more}")).unwrap();
        let error = Config::read(&path).unwrap_err().to_string();
        assert!(error.contains(told), "{more}: {error}");
    }
    let grows = "model.backbone = \"vit_small\"\ninput.grow = [{ until = 0.5, size = 96 }]";
    std::fs::write(&path, format!("name = \"a\"\ndata.folders = [\"faces\"]\n{grows}")).unwrap();
    Config::read(&path).unwrap();
}

#[test]
fn what_does_not_change_the_weights_is_not_in_the_digest() {
    let temporary = tempfile::tempdir().unwrap();
    let of = |more: &str| config(temporary.path(), more).digest();
    let plain = of("");
    let kind = "regularize.kind = \"hide_and_seek\"";
    assert_eq!(of(kind), of(&format!("{kind}\nregularize.maps = \"maps\"")));
    for same in [
        "localize.tau1 = 0.4",
        "zoo.members = []",
        "run.loader_threads = 1",
        "data.cache_mib = 7",
        "crop.margin = 0.1",
        "provenance.licence = \"none\"",
    ] {
        assert_eq!(of(same), plain, "{same}");
    }
    for other in
        [kind, "seed = 2", "augment.flip = 0.4", "optim.epochs = 5", "model.dropout = 0.3", "data.pseudo = \"also\""]
    {
        assert_ne!(of(other), plain, "{other}");
    }
    // What pseudo-fakes are made by counts where they are made.
    let made = |more: &str| of(&format!("data.pseudo = \"only\"\n{more}"));
    assert_ne!(made("synthesize.part = 0.5"), made(""));
    assert_eq!(made("synthesize.per_face = 3"), made(""));
}

#[test]
fn the_input_grows_by_epoch() {
    let temporary = tempfile::tempdir().unwrap();
    let mut config = config(temporary.path(), "");
    config.input.size = 192;
    config.input.grow = vec![Grow { until: 0.4, size: 112 }, Grow { until: 0.7, size: 144 }];
    let sizes: Vec<_> = (0..10).map(|epoch| config.input.size_at(epoch, 10)).collect();
    assert_eq!(sizes, [112, 112, 112, 112, 144, 144, 144, 192, 192, 192]);
    // However few they are, the last is one whose weights can be kept.
    config.input.grow = vec![Grow { until: 0.9, size: 112 }];
    let sizes =
        [1, 2, 3].map(|epochs| (0..epochs).map(|epoch| config.input.size_at(epoch, epochs)).collect::<Vec<_>>());
    assert_eq!(sizes, [vec![192], vec![112, 192], vec![112, 112, 192]]);
}
