//! What the page shows, as SVG files.

use std::fmt::Write;

use super::results::Attention;
use crate::report::forest;

/// Pixels of a map's side.
const SIDE: usize = 120;
/// Pixels around and between maps.
const GAP: usize = 16;
/// Pixels for words.
const LINE: usize = 18;
/// What the strongest field is drawn in: Okabe and Ito's blue and vermillion.
const COLOURS: [[f64; 3]; 2] = [[0.0, 114.0, 178.0], [213.0, 94.0, 0.0]];

/// Differences with their intervals, one below the other, around none.
pub(super) fn differences(rows: &[(String, f64, Option<[f64; 2]>)]) -> String {
    // Inside of HTML the name space goes without saying, in a file it does not.
    forest(760, rows, 0.0, "difference of AUC").replacen("<svg ", "<svg xmlns=\"http://www.w3.org/2000/svg\" ", 1)
}

/// Mean maps side by side: above of real faces, below of fakes; a column an arm. Every map is drawn up to its own strongest field.
pub(super) fn maps(arms: &[(&str, &Attention)]) -> String {
    let (width, height) = (GAP + arms.len() * (SIDE + GAP), 2 * GAP + LINE + 2 * (SIDE + GAP));
    let mut text = String::new();
    // Writing to a text does not fail.
    let _ = draw(&mut text, arms, width, height);
    text
}

fn draw(out: &mut String, arms: &[(&str, &Attention)], width: usize, height: usize) -> std::fmt::Result {
    writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\">"
    )?;
    writeln!(out, "<rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>")?;
    for (column, (name, attention)) in arms.iter().enumerate() {
        let x = GAP + column * (SIDE + GAP);
        writeln!(
            out,
            "<text x=\"{}\" y=\"{}\" font-family=\"sans-serif\" font-size=\"13\" text-anchor=\"middle\" fill=\"#333d47\">{name}</text>",
            x + SIDE / 2,
            GAP + LINE / 2
        )?;
        let [columns, rows] = attention.size;
        for (class, mean) in attention.mean.iter().enumerate() {
            let y = GAP + LINE + class * (SIDE + GAP);
            let most = mean.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
            for (at, value) in mean.iter().enumerate().take(columns * rows) {
                let [r, g, b] = COLOURS[class].map(|c| (255.0 + (c - 255.0) * value / most).round() as u8);
                let (w, h) = (SIDE as f64 / columns as f64, SIDE as f64 / rows as f64);
                writeln!(
                    out,
                    "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{w:.1}\" height=\"{h:.1}\" fill=\"#{r:02x}{g:02x}{b:02x}\"/>",
                    x as f64 + (at % columns) as f64 * w,
                    y as f64 + (at / columns) as f64 * h
                )?;
            }
            writeln!(
                out,
                "<rect x=\"{x}\" y=\"{y}\" width=\"{SIDE}\" height=\"{SIDE}\" fill=\"none\" stroke=\"#333d47\"/>"
            )?;
        }
    }
    writeln!(out, "</svg>")
}
