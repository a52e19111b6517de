//! Reports and cards of made-up evaluations.

mod support;

use std::collections::BTreeMap;
use std::path::Path;

use deepfake_scoring::contract::{Crop, ScoreKeys};
use deepfake_trainer::calibrate::{Reliability, calibrate};
use deepfake_trainer::checkpoint::RunFolder;
use deepfake_trainer::config::{Calibrate, TestKind};
use deepfake_trainer::distort::Distortion;
use deepfake_trainer::evaluate::figures::{Sample, Unit};
use deepfake_trainer::evaluate::{
    Comparison, Distorted, Drawn, Evaluation, Level, Map, Mistake, ModelRecord, SCHEMA_VERSION, SetRecord, SetResult,
};
use deepfake_trainer::report::{History, report};
use deepfake_trainer::seeded;
use scraper::{Html, Selector};

const HOSTILE: &str = "<script>alert('x')</script>\"><img src=https://example.com/a.png>|`*_.png";

fn units(gain: f64, sources: usize) -> Vec<Unit> {
    let unit = |source: usize, fake: bool| {
        let mut rng = seeded::generator(3, "report", &[source as u64, u64::from(fake)]);
        let logit = 1.5 * seeded::normal(&mut rng) + if fake { gain } else { -gain };
        Unit { logit, fake, source }
    };
    (0..sources).flat_map(|s| [unit(s, false), unit(s, true)]).collect()
}

fn level(sample: &Sample) -> Level {
    let half = sample.units().len() / 2;
    Level { real: half, fake: half, figures: sample.figures(200) }
}

fn evaluation(hostile: &str) -> Evaluation {
    let score = ScoreKeys { temperature: 1.3, ..ScoreKeys::default() };
    let sample = |gain| Sample::new(units(gain, 120), 120, &score).unwrap();
    let result = |set: &str, gain: f64, distortion: Option<Distorted>| {
        let sample = sample(gain);
        let (logits, fake): (Vec<f64>, Vec<bool>) = sample.units().iter().map(|u| (u.logit, u.fake)).unzip();
        let mistake = |fake| Mistake {
            file: hostile.to_owned(),
            frame: 3,
            fake,
            score: 0.9,
            picture: Some("mistakes/a.jpg".to_owned()),
            map: Some(Map { width: 2, height: 2, values: vec![1.0, -2.0, 0.5, 3.0] }),
        };
        let drawn = Drawn {
            roc_frame: vec![[0.0, 0.0], [0.1, 0.6], [1.0, 1.0]],
            roc_video: vec![[0.0, 0.0], [0.05, 0.7], [1.0, 1.0]],
            reliability: Reliability::new(&logits, &fake, 1.3),
            histogram_real: vec![3; 40],
            histogram_fake: (0..40).collect(),
            mistakes: vec![mistake(false), mistake(true)],
        };
        SetResult {
            model: hostile.to_owned(),
            set: set.to_owned(),
            drawn: distortion.is_none().then_some(drawn),
            distortion,
            sources: 120,
            failed: 2,
            frame: level(&sample),
            video: level(&sample),
        }
    };
    let good = format!("good {hostile}");
    let mut results =
        vec![result(&good, 1.0, None), result("chance", 0.0, None), result(&good, 1.0, Some(Distorted::none()))];
    results.push(SetResult { model: "plain".to_owned(), ..result(&good, 0.9, Some(Distorted::none())) });
    for d in Distortion::ALL {
        for l in 1..=Distortion::LEVELS {
            let distorted = Distorted { name: d.name().to_owned(), level: l, parameter: d.parameter(l).unwrap() };
            let beside = result(&good, 0.9 - f64::from(l) / 5.0, Some(distorted.clone()));
            results.push(SetResult { model: "plain".to_owned(), ..beside });
            results.push(result(&good, 1.0 - f64::from(l) / 5.0, Some(distorted)));
        }
    }
    let set = |name: &str| SetRecord {
        name: name.to_owned(),
        kind: TestKind::Crops,
        sha256: "0123456789abcdef0123".to_owned(),
        real: 120,
        fake: 120,
        sources: 120,
    };
    let model = |name: &str| ModelRecord {
        name: name.to_owned(),
        file: hostile.to_owned(),
        bytes: 3_706_419,
        sha256: "ab".repeat(32),
        input: [192, 192],
        map: Some([6, 6]),
        crop: Crop::default(),
        score: score.clone(),
        provenance: BTreeMap::from([("licence".to_owned(), format!("terms {hostile}"))]),
    };
    let comparison = Comparison {
        set: good.clone(),
        model: hostile.to_owned(),
        against: "plain".to_owned(),
        frames: 240,
        sources: 120,
        frame: sample(1.0).difference(&sample(0.5), 200),
        video: None,
    };
    Evaluation {
        schema_version: SCHEMA_VERSION,
        bootstrap: 200,
        models: vec![model(hostile), model("plain")],
        sets: vec![set(&good), set("chance")],
        results,
        comparisons: vec![comparison],
    }
}

/// A run folder with all that a report tells of.
fn run(folder: &Path, evaluation: &Evaluation) -> RunFolder {
    let run = RunFolder::new(folder).unwrap();
    evaluation.write(&run.evaluation()).unwrap();
    let face = image::RgbImage::from_fn(32, 32, |x, y| image::Rgb([x as u8 * 7, y as u8 * 7, 90]));
    std::fs::create_dir_all(folder.join("mistakes")).unwrap();
    face.save(folder.join("mistakes/a.jpg")).unwrap();
    std::fs::create_dir_all(folder.join("localize")).unwrap();
    face.save(folder.join("localize/contact <b>.png")).unwrap();
    let config = support::config(folder, "provenance.data = \"<i>mine</i>\"");
    std::fs::write(run.config(), serde_json::to_string(&config).unwrap()).unwrap();
    let log = r#"{"event":"device","device":"the CPU"}
{"event":"model","parameters":928162}
{"event":"step","epoch":1,"step":5,"of":10,"learning_rate":0.001}
{"event":"epoch","epoch":1,"loss":0.7,"auc":0.6,"log_loss":0.69,"best":true}
{"event":"epoch","epoch":2,"loss":0.9,"auc":0.1,"log_loss":0.9,"best":false}
{"event":"epoch","epoch":2,"loss":0.5,"auc":0.8,"log_loss":0.6,"best":true}
{"event":"step","epoch":3,"step":5,"of":10,"learning_rate":0.0001}
a torn li"#;
    std::fs::write(run.log(), log).unwrap();
    let units = units(1.0, 120);
    let (logits, fake): (Vec<f64>, Vec<bool>) = units.iter().map(|u| (u.logit, u.fake)).unzip();
    run.write_calibration(&calibrate(&logits, &fake, &Calibrate::default()).unwrap()).unwrap();
    run
}

#[test]
fn a_report_is_whole_harmless_html_that_needs_nothing_else() {
    let temporary = tempfile::tempdir().unwrap();
    let evaluation = evaluation(HOSTILE);
    let run = run(temporary.path(), &evaluation);
    let (html, card) = (temporary.path().join("report.html"), temporary.path().join("card.md"));
    report(&run, None, Some(&html), Some(&card)).unwrap();
    let (text, card) = (std::fs::read_to_string(&html).unwrap(), std::fs::read_to_string(&card).unwrap());

    let page = Html::parse_document(&text);
    assert_eq!(page.errors, Vec::<String>::new());
    let all = |what: &str| -> Vec<_> { page.select(&Selector::parse(what).unwrap()).collect() };
    assert!(all("script, iframe, link, object, embed, form, base").is_empty());
    for element in all("*") {
        for (name, value) in element.value().attrs() {
            assert!(!name.starts_with("on"), "{name}");
            match name {
                "src" => assert!(value.starts_with("data:image/"), "{value}"),
                "href" => assert!(value.starts_with('#'), "{value}"),
                "style" => assert!(!value.contains("url"), "{value}"),
                _ => {}
            }
        }
    }
    let style: String = all("style").iter().flat_map(|e| e.text()).collect();
    assert!(!style.contains("url(") && !style.contains("@import"));
    let ids: Vec<_> = all("section").iter().filter_map(|s| s.value().id()).collect();
    assert_eq!(
        ids,
        [
            "summary",
            "meaning",
            "matrix",
            "paired",
            "sets",
            "robustness",
            "mistakes",
            "calibration",
            "training",
            "sheets",
            "provenance"
        ]
    );
    // Each link of the contents leads somewhere.
    assert!(all("nav a").iter().all(|a| ids.contains(&&a.attr("href").unwrap()[1..])));
    // The hostile name is there, as text.
    let words: String = page.root_element().text().collect();
    assert!(words.contains(HOSTILE));
    // Charts: for two sets three each, paired, robustness, calibration, three of the training.
    assert_eq!(all("svg").len(), 2 * 3 + 1 + 1 + 1 + 3);
    // Two sets, two mistakes each, as seen and as evidence, and the contact sheet.
    assert_eq!(all("img").len(), 2 * 2 * 2 + 1);

    // The figures are those of the evaluation, in report and card alike.
    for result in evaluation.results.iter().filter(|r| r.distortion.is_none()) {
        for (name, figure) in result.frame.figures.named() {
            let figure = figure.unwrap();
            if !name.contains("called") {
                let [low, high] = figure.interval.unwrap();
                assert!(words.contains(&format!("{:.3} [{low:.3}, {high:.3}]", figure.value)), "{name} {figure}");
                assert!(card.contains(&figure.to_string()), "{name} {figure}");
            }
        }
    }
    // How robust it is stands beside how robust the others are.
    let rows = card.lines().filter(|l| l.contains("| noise | "));
    let rows: Vec<Vec<&str>> = rows.map(|l| l.split('|').map(str::trim).collect()).collect();
    assert_eq!(rows.len(), 2, "{card}");
    for result in &evaluation.results {
        let Some(d) = result.distortion.as_ref().filter(|d| d.level == 0 || d.name == "noise") else { continue };
        let row = &rows[usize::from(result.model == "plain")];
        assert!(row.iter().any(|cell| cell.ends_with("(120 sources)")), "{row:?}");
        // From the end, for a name may have a stroke in it.
        assert_eq!(row[row.len() - 7 + usize::from(d.level)], result.frame.figures.auc.unwrap().to_string(), "{row:?}");
    }
    assert!(words.contains("in epoch 2") && words.contains("928,162 learned numbers"));
    assert!(words.contains("no better than chance"));
    // Outside of code, which is text by itself, nothing is markup.
    let prose: String = card.split("```").step_by(2).flat_map(|part| part.split('`').step_by(2)).collect();
    assert!(!prose.contains('<') && prose.contains("&lt;script&gt;"), "{prose}");
}

#[test]
fn a_card_says_what_a_model_is_not_good_for() {
    let temporary = tempfile::tempdir().unwrap();
    let run = run(temporary.path(), &evaluation("scorer.onnx"));
    let path = temporary.path().join("card.md");
    report(&run, None, None, Some(&path)).unwrap();
    let card = std::fs::read_to_string(&path).unwrap();
    assert!(card.contains("better than chance on 1, **no better than chance on 1**"), "{card}");
    assert!(card.contains("- **chance: it is no better than chance**"), "{card}");
    assert!(!card.contains("- **good scorer.onnx: it is"), "{card}");
    assert!(card.contains("No longer better than chance under:") && card.contains("blur of level 5"), "{card}");
    assert!(card.contains("- licence: terms scorer.onnx") && card.contains("928,162 learned numbers"), "{card}");
    assert!(card.contains("deepfakescore model=scorer.onnx"), "{card}");
    // Whole tables: every row of one has as many cells as its head.
    for table in card.split("\n\n").filter(|block| block.starts_with('|')) {
        let cells: Vec<usize> = table.lines().map(|l| l.replace("\\|", "").matches('|').count()).collect();
        assert!(cells.windows(2).all(|w| w[0] == w[1]), "{table}");
    }

    // Where files lie on the machine that trained is nobody's business.
    let config = support::config(
        temporary.path(),
        r#"
            [synthesize]
            face_model = "/secret/f.onnx"
            faces = ["/secret/faces"]
            [evaluate]
            face_model = "/secret/e.onnx"
            models = [{ name = "m", file = "/secret/m.onnx", contract = "/secret/m.toml" }]
            sets = [{ name = "s", sets = [{ root = "/secret/r", kind = "folders" }] }]
        "#,
    );
    std::fs::write(run.config(), serde_json::to_string(&config).unwrap()).unwrap();
    report(&run, None, None, Some(&path)).unwrap();
    let card = std::fs::read_to_string(&path).unwrap();
    let recipe = card.split("```toml").nth(1).unwrap().split("```").next().unwrap();
    assert!(recipe.contains("[synthesize]") && !recipe.contains('/'), "{recipe}");

    let mut silent = evaluation("scorer.onnx");
    silent.models[0].provenance.clear();
    silent.write(&run.evaluation()).unwrap();
    report(&run, None, None, Some(&path)).unwrap();
    let card = std::fs::read_to_string(&path).unwrap();
    assert!(card.contains("The terms of the training data are not told"), "{card}");
}

#[test]
fn what_is_not_there_is_not_told_and_nothing_is_an_error() {
    let temporary = tempfile::tempdir().unwrap();
    let run = RunFolder::new(temporary.path()).unwrap();
    let html = temporary.path().join("report.html");
    let error = report(&run, None, Some(&html), None).unwrap_err().to_string();
    assert!(error.contains("nothing to report"), "{error}");

    let config = support::config(temporary.path(), "");
    std::fs::write(run.config(), serde_json::to_string(&config).unwrap()).unwrap();
    report(&run, None, Some(&html), None).unwrap();
    let text = std::fs::read_to_string(&html).unwrap();
    assert!(Html::parse_document(&text).errors.is_empty() && text.contains("The whole configuration"));
    let error = report(&run, None, None, Some(&temporary.path().join("card.md"))).unwrap_err().to_string();
    assert!(error.contains("evaluate"), "{error}");

    std::fs::write(run.evaluation(), r#"{"schema_version": 99}"#).unwrap();
    let error = report(&run, None, Some(&html), None).unwrap_err().to_string();
    assert!(error.contains("version 99"), "{error}");
}

#[test]
fn a_history_has_each_epoch_once_as_it_was_last_gone_through() {
    let history = History::parse(
        "{\"event\":\"epoch\",\"epoch\":1,\"auc\":0.5}\n{\"event\":\"epoch\",\"epoch\":1,\"auc\":0.75}\nx",
    );
    assert_eq!(history.epochs.len(), 1);
    assert_eq!(history.epochs[0].auc, Some(0.75));
    assert_eq!(history.best(), None);
}
