//! What each fuzz target does with its bytes: it gives them to what reads them from strangers, and holds what comes out against what is
//! promised of it. A broken promise is a panic.
//!
//! `fuzz/` runs these with cargo-fuzz, `tests/fixed_seed.rs` with bytes that are the same in each run.

use deepfake_scoring::contract::Contract;
use deepfake_scoring::model::Model;

mod frames;
mod input;
mod metas;
mod outputs;

pub use frames::frame;
pub use metas::meta;
pub use outputs::decode;

/// A target: its name, what it does, and inputs that are sound, to be changed from there.
#[derive(Debug)]
pub struct Target {
    /// As cargo-fuzz calls it.
    pub name: &'static str,
    /// What is done with the bytes.
    pub run: fn(&[u8]),
    /// Sound inputs.
    pub sound: fn() -> Vec<Vec<u8>>,
}

/// All of them.
pub const TARGETS: [Target; 6] = [
    Target { name: "contract", run: contract, sound: contracts },
    Target { name: "sidecar", run: sidecar, sound: sidecars },
    Target { name: "model", run: model, sound: models },
    Target { name: "meta", run: meta, sound: numbers },
    Target { name: "decode", run: decode, sound: numbers },
    Target { name: "frame", run: frame, sound: numbers },
];

/// A model's metadata: lines of `key=value`.
pub fn contract(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let entries = text.lines().map(|line| line.split_once('=').unwrap_or((line, "")));
    if let Ok(Some(contract)) = Contract::from_metadata(entries) {
        check_contract(&contract);
    }
}

/// The TOML file beside a model.
pub fn sidecar(data: &[u8]) {
    if let Ok(contract) = Contract::from_toml(&String::from_utf8_lossy(data)) {
        check_contract(&contract);
    }
}

/// What is accepted can be written and read again as it is, and makes a crop.
fn check_contract(contract: &Contract) {
    let flat = contract.to_metadata();
    let again = Contract::from_metadata(flat.iter().map(|(k, v)| (k.as_str(), v.as_str())));
    let again = again.expect("what was written can be read").expect("a contract is one");
    assert_eq!(again, *contract);
    let face = deepfake_scoring::geometry::Rect::new(10.0, 20.0, 30.0, 40.0);
    let region = contract.crop.region(&face);
    assert!([region.x, region.y, region.w, region.h].iter().all(|v| v.is_finite()), "{region:?}");
}

/// A file that calls itself a model.
pub fn model(data: &[u8]) {
    if let Ok(model) = Model::from_bytes("fuzz", data) {
        assert_eq!(model.bytes(), data);
        assert_eq!(model.sha256().len(), 64);
        let _ = Contract::from_metadata(model.metadata());
    }
}

fn contracts() -> Vec<Vec<u8>> {
    let mut contract = Contract::default();
    contract.output.logit = Some("473".into());
    contract.output.map = Some("map".into());
    contract.provenance.insert("data".into(), "1".into());
    let lines = contract.to_metadata().into_iter().map(|(k, v)| format!("{k}={v}\n"));
    vec![lines.collect::<String>().into_bytes(), b"contract_version=1\ninput.mean=[0.485, 0.456, 0.406]".to_vec()]
}

fn sidecars() -> Vec<Vec<u8>> {
    let text = "contract_version = 1\n[input]\nlayout = \"NHWC\"\nwidth = 256\nheight = 256\nchannels = \"bgr\"\nmean = [0.1, 0.2, 0.3]\n\
                std = 0.5\nscale = 1\n[crop]\nmargin = 0.15\nshift_y = -0.1\nsquare = false\n[output]\nprobability = \"Identity:0\"\n\
                of = \"real\"\nindex = 1\nsoftmax = true\n[score]\ntemperature = 2.5\nfake_above = 0.8\nreal_below = 0.2\n\
                [provenance]\n\"a.b\" = \"\\\"c\\\"\\nd\"\n";
    vec![text.as_bytes().to_vec()]
}

fn models() -> Vec<Vec<u8>> {
    // The smallest that there is.
    vec![deepfake_scoring::locate::bundled().map(|m| m.bytes().to_vec()).unwrap_or_default()]
}

/// Any numbers will do.
fn numbers() -> Vec<Vec<u8>> {
    vec![vec![0; 64], (0..=255).collect(), vec![0xff; 512]]
}
