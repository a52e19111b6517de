//! The experiment that compares ways to train, on generated faces.

mod support;

use std::path::Path;
use std::process::Command;

use deepfake_trainer::config::Proof;
use deepfake_trainer::proof::{self, Limits, Results, State};
use support::write_faces;

const EXPERIMENT: &str = r#"
name = "drawn"
seeds = [1, 2]
bootstrap = 100
control = "erasing"

[base]
data = { folders = ["faces"], cache_mib = 64, validation_share = 0.25 }
model = { backbone = "mobilenet_v3_small", width = 0.25 }
input = { size = 48 }
optim = { epochs = 1, batch = 8 }
run = { threads = 1, loader_threads = 1 }
localize = { sheet = 0 }

[base.zoo]
members = [
    { backbone = "mobilenet_v3_small", width = 0.25, epochs = 1 },
    { backbone = "resnet18", width = 0.25, epochs = 1 },
]

[[directions]]
name = "drawn"
primary = "elsewhere"
within = ["held-out"]

[[directions.set.evaluate.sets]]
name = "held-out"
folders = ["held-out"]

[[directions.set.evaluate.sets]]
name = "elsewhere"
folders = ["elsewhere"]

[[backbones]]
name = "small"

[[arms]]
name = "plain"
about = "nothing is erased."

[[arms]]
name = "erasing"
set = { regularize = { kind = "random_erasing" } }

[[arms]]
name = "regions"
set = { regularize = { kind = "primary_regions" } }
"#;

fn stage(folder: &Path) {
    write_faces(&folder.join("faces"), 24);
    write_faces(&folder.join("held-out"), 8);
    write_faces(&folder.join("elsewhere"), 6);
    // Other pictures than those that are learned from.
    for (set, by) in [("held-out", 1_u8), ("elsewhere", 2)] {
        for label in ["real", "fake"] {
            for entry in std::fs::read_dir(folder.join(set).join(label)).unwrap() {
                let path = entry.unwrap().path();
                let mut picture = image::open(&path).unwrap().to_rgb8();
                picture.get_pixel_mut(0, 0).0 = [by; 3];
                picture.save(&path).unwrap();
            }
        }
    }
    std::fs::write(folder.join("proof.toml"), EXPERIMENT).unwrap();
}

fn prove(folder: &Path, limits: &Limits) -> State {
    let (proof, trials) = Proof::read(&folder.join("proof.toml")).unwrap();
    proof::prove(&proof, &trials, &Results::new(&folder.join("results")), &folder.join("work"), limits).unwrap()
}

#[test]
fn runs_are_done_once_and_what_came_out_is_told() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    stage(folder);
    // A picture that is learned from is not measured on.
    std::fs::copy(folder.join("faces/real/s000_real.png"), folder.join("elsewhere/real/s000_real.png")).unwrap();

    let first = Limits { runs: Some(2), ..Limits::default() };
    assert_eq!(prove(folder, &first), State { kept: 0, done: 2, left: 4 });
    let regions = Limits { only: vec!["regions-2".to_owned()], ..Limits::default() };
    assert_eq!(prove(folder, &regions), State { kept: 2, done: 1, left: 3 });
    // Weights are working material: without them, what is known stays known.
    std::fs::remove_dir_all(folder.join("work/runs")).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_deepfake-trainer"))
        .args("proof --config proof.toml --work work --results docs/results --page docs/proof.md".split(' '))
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(prove(folder, &Limits::default()), State { kept: 3, done: 3, left: 0 });
    assert_eq!(prove(folder, &Limits::default()), State { kept: 6, done: 0, left: 0 });

    let (_, trials) = Proof::read(&folder.join("proof.toml")).unwrap();
    let results = Results::new(&folder.join("results"));
    let labels = results.labels("elsewhere").unwrap().unwrap();
    assert_eq!((labels.left_out, labels.fake.len()), (1, 11));
    let outcomes: Vec<_> = trials.iter().map(|t| results.outcome(t).unwrap().unwrap()).collect();
    // All arms that erase do so by the same maps, and seeds differ.
    assert!(outcomes[0].maps.is_none() && outcomes[2].maps.is_some());
    assert!(outcomes[2..].iter().all(|o| o.maps == outcomes[2].maps && o.faces == outcomes[0].faces));
    assert_ne!(outcomes[0].scores["elsewhere"], outcomes[1].scores["elsewhere"]);
    // The same seed gives the same scores, whichever process and folder.
    let again = Results::new(&folder.join("docs/results"));
    for (trial, outcome) in trials.iter().zip(&outcomes) {
        assert_eq!(again.outcome(trial).unwrap().as_ref(), Some(outcome), "{}-{}", trial.arm, trial.seed);
    }

    let page = std::fs::read_to_string(folder.join("docs/proof.md")).unwrap();
    for part in [
        "6 of 6 runs",
        "| `regions` | `plain` |",
        "| `regions` | `erasing` |",
        "`elsewhere` (primary)",
        "1 pictures of `elsewhere` are left out",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert!(!page.contains("| `plain` | `erasing` |") && !page.contains("| `erasing` | `regions` |"), "{page}");
    assert_eq!(page.matches("| `regions` | `plain` |").count(), 1, "{page}");
    // Single arms can be compared with any other.
    let beside = EXPERIMENT
        .replace("control = \"erasing\"", "")
        .replace("name = \"erasing\"", "name = \"erasing\"\nbeside = [\"regions\"]");
    std::fs::write(folder.join("beside.toml"), beside).unwrap();
    let (wider, of_wider) = Proof::read(&folder.join("beside.toml")).unwrap();
    let wide = proof::page(&wider, &of_wider, &results, "results").unwrap();
    assert_eq!(wide.text.matches("| `erasing` | `regions` |").count(), 1, "{}", wide.text);
    assert!(!wide.text.contains("| `regions` | `erasing` |"), "{}", wide.text);
    assert!(wide.figures.iter().any(|(name, _)| name == "drawn-small-to-regions.svg"));
    for figure in ["drawn-small-to-plain.svg", "drawn-small-to-erasing.svg", "drawn-small-maps.svg"] {
        assert!(page.contains(&format!("](results/{figure})")), "{figure}: {page}");
        let svg = std::fs::read_to_string(folder.join("docs/results").join(figure)).unwrap();
        assert!(svg.starts_with("<svg xmlns=") && svg.trim_end().ends_with("</svg>"), "{svg}");
    }
}

#[test]
fn a_run_of_another_configuration_is_done_anew() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    stage(folder);
    let plain = Limits { only: vec!["plain".to_owned()], ..Limits::default() };
    assert_eq!(prove(folder, &plain).done, 2);
    std::fs::write(folder.join("proof.toml"), EXPERIMENT.replace("batch = 8", "batch = 4")).unwrap();
    let (proof, trials) = Proof::read(&folder.join("proof.toml")).unwrap();
    let page = proof::page(&proof, &trials, &Results::new(&folder.join("results")), "results").unwrap();
    assert!(!page.text.contains("## `drawn`"), "{}", page.text);
    // What was settled before the runs stays so.
    let moved = EXPERIMENT.replace("primary = \"elsewhere\"", "primary = \"held-out\"");
    std::fs::write(folder.join("moved.toml"), moved).unwrap();
    let (other, of_other) = Proof::read(&folder.join("moved.toml")).unwrap();
    let refused = proof::prove(&other, &of_other, &Results::new(&folder.join("results")), &folder.join("work"), &plain);
    assert!(refused.unwrap_err().to_string().contains("settled before the runs"));
    // Its own folder of weights is of the other one: that is told, nothing is overwritten.
    let refused = proof::prove(&proof, &trials, &Results::new(&folder.join("results")), &folder.join("work"), &plain);
    assert!(refused.unwrap_err().to_string().contains("another configuration"));
}

#[test]
fn a_network_is_trained_in_its_directions_as_each_of_them_wants_it() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("proof.toml");
    let first = EXPERIMENT.find("[[directions]]").unwrap();
    let end = EXPERIMENT.find("[[backbones]]").unwrap();
    let second = EXPERIMENT[first..end].replace("\"drawn\"", "\"painted\"");
    let networks = r#"
[[backbones]]
name = "small"
directions = ["drawn"]

[[backbones]]
name = "small"
directions = ["painted"]
set = { optim = { epochs = 3 } }

[[backbones]]
name = "other"
directions = ["painted"]
"#;
    let (_, arms) = EXPERIMENT[end..].split_once("name = \"small\"").unwrap();
    std::fs::write(&path, format!("{}{second}{networks}{arms}", &EXPERIMENT[..end])).unwrap();
    let (proof, trials) = Proof::read(&path).unwrap();
    let of = |direction: &str, backbone: &str| -> Vec<usize> {
        let those = trials.iter().filter(|t| t.direction == direction && t.backbone == backbone);
        those.map(|t| t.config.optim.epochs).collect()
    };
    // Three arms, two seeds.
    assert_eq!((of("drawn", "small"), of("painted", "small")), (vec![1; 6], vec![3; 6]));
    assert_eq!((of("drawn", "other"), of("painted", "other")), (vec![], vec![1; 6]));
    let networks = |n: usize| proof.networks(&proof.directions[n]).count();
    assert_eq!((networks(0), networks(1)), (1, 2));
    let written = std::fs::read_to_string(&path).unwrap();
    for (from, to, told) in [
        ("directions = [\"drawn\"]", "directions = [\"painted\"]\nset = {}", "has none for the direction `drawn`"),
        (
            "name = \"regions\"",
            "name = \"regions\"\ndirections = [\"drawn\"]\nbackbones = [\"other\"]",
            "never come together",
        ),
        (
            "name = \"regions\"",
            "name = \"wider\"\nbackbones = [\"other\"]\n\n[[arms]]\nname = \"regions\"\nbackbones = [\"small\"]\nbeside = [\"wider\"]",
            "of `regions` is `wider`, which is no other arm of the same direction and backbone",
        ),
    ] {
        std::fs::write(&path, written.replacen(from, to, 1)).unwrap();
        let error = Proof::read(&path).unwrap_err().to_string();
        assert!(error.contains(told), "{to}: {error}");
    }
}

#[test]
fn nonsense_is_refused() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("proof.toml");
    for (from, to, told) in [
        ("seeds = [1, 2]", "seeds = [1, 1]", "seeds"),
        ("seeds = [1, 2]", "seeds = []", "seeds"),
        ("bootstrap = 100", "bootstrap = 10", "bootstrap"),
        ("control = \"erasing\"", "control = \"south\"", "`south`"),
        ("control = \"erasing\"", "control = \"plain\"", "`plain`, which is no arm after the first"),
        ("primary = \"elsewhere\"", "primary = \"nowhere\"", "`nowhere` is none of the direction's test sets"),
        ("within = [\"held-out\"]", "within = [\"held-up\"]", "`held-up` is none of the direction's test sets"),
        ("name = \"regions\"", "name = \"erasing\"", "has two called `erasing`"),
        ("name = \"regions\"", "name = \"a b\"", "`a b`"),
        ("name = \"regions\"", "name = \"regions\"\ndirections = [\"north\"]", "`north`"),
        ("name = \"small\"", "name = \"small\"\ndirections = [\"north\"]", "`north`, which is no direction"),
        ("name = \"small\"", "name = \"small\"\n[[backbones]]\nname = \"small\"", "two called `small`"),
        ("name = \"plain\"", "name = \"plain\"\ndirections = [\"drawn\"]", "must begin with one for all"),
        (
            "name = \"regions\"",
            "name = \"regions\"\nbeside = [\"south\"]",
            "of `regions` is `south`, which is no other arm",
        ),
        ("name = \"regions\"", "name = \"regions\"\nbeside = [\"regions\"]", "which is no other arm"),
        ("kind = \"primary_regions\"", "kind = \"cutout\"", "cutout"),
        ("epochs = 1, batch = 8", "epochs = 0, batch = 8", "optim.epochs"),
        (
            "set = { regularize = { kind = \"random_erasing\" } }",
            "set = { seed = 4 }",
            "must not have a name or a seed",
        ),
    ] {
        assert!(EXPERIMENT.contains(from), "{from}");
        std::fs::write(&path, EXPERIMENT.replacen(from, to, 1)).unwrap();
        let error = Proof::read(&path).unwrap_err().to_string();
        assert!(error.contains(told), "{to}: {error}");
    }
}

#[test]
fn the_page_in_the_docs_is_what_the_results_beside_it_say() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let (proof, trials) = Proof::read(&root.join("trainer/configs/proof.toml")).unwrap();
    let docs = root.join("docs");
    let page = proof::page(&proof, &trials, &Results::new(&docs.join("proof")), "proof").unwrap();
    let written = |name: &str| std::fs::read_to_string(docs.join(name)).unwrap();
    assert!(page.text.contains("runs are done") && page.text == written("proof.md"), "write docs/proof.md anew");
    assert!(!page.figures.is_empty());
    for (name, svg) in &page.figures {
        assert!(*svg == written(&format!("proof/{name}")), "{name}");
    }
}
