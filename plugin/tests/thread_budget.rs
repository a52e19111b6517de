//! ONNX Runtime's threads of all elements together. Alone in its program, whose threads it counts.

use deepfake_scoring::threads::BUDGET_VARIABLE;
use gst::prelude::*;

mod common;

const BUDGET: u64 = 3;

fn threads_of_process() -> u64 {
    std::fs::read_dir("/proc/self/task").unwrap().count() as u64
}

/// One thread of each session is the caller's own.
fn assert_threads(wanted: u64) {
    assert_eq!(common::settled(threads_of_process, &wanted), wanted);
}

fn start(model: &std::path::Path, properties: &[(&str, &str)]) -> gst::Element {
    let element = gst::ElementFactory::make("deepfakescore").build().unwrap();
    element.set_property("model", model.to_str().unwrap());
    element.set_property_from_str("face-source", "frame");
    for (name, value) in properties {
        element.set_property_from_str(name, value);
    }
    element.set_state(gst::State::Paused).unwrap();
    element
}

fn stat(element: &gst::Element, name: &str) -> u64 {
    element.property::<gst::Structure>("stats").get(name).unwrap()
}

#[test]
fn elements_share_one_budget() {
    // The budget is read once.
    if !common::alone("elements_share_one_budget", &[(BUDGET_VARIABLE, &BUDGET.to_string())]) {
        return;
    }
    common::init();
    let folder = tempfile::tempdir().unwrap();
    let model = common::brightness_model(folder.path());
    // What ONNX Runtime starts for itself is there.
    let first = start(&model, &[]);
    let before = threads_of_process();
    assert_eq!((stat(&first, "threads"), stat(&first, "thread-budget")), (1, BUDGET));

    let alone: Vec<_> = (0..4).map(|_| start(&model, &[("threads", "4")])).collect();
    let granted: Vec<_> = alone.iter().map(|e| stat(e, "threads")).collect();
    assert_eq!(granted, [3, 1, 1, 1]);
    assert_threads(before + BUDGET - 1);

    // What is given back is there for others: a group, whose worker is the caller of all its runs.
    for element in &alone {
        element.set_state(gst::State::Null).unwrap();
    }
    assert_threads(before);
    let group = [("threads", "2"), ("session-group", "budget")];
    let grouped: Vec<_> = (0..4).map(|_| start(&model, &group)).collect();
    assert!(grouped.iter().all(|e| stat(e, "threads") == 2));
    assert_threads(before + 1 + 1);
    let last = start(&model, &[("threads", "4")]);
    assert_eq!(stat(&last, "threads"), 2);
    assert_threads(before + 1 + BUDGET - 1);
    for element in grouped.iter().chain([&last, &first]) {
        element.set_state(gst::State::Null).unwrap();
    }
    assert!(common::settled(|| threads_of_process() <= before, &true));
}
