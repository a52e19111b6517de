//! Charts as inline SVG. Their colours are those of the light page; the page's style sheet exchanges them in the dark.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::metrics::Bin;

/// Axes and words.
pub(super) const INK: RGBColor = RGBColor(0x33, 0x3D, 0x47);
/// Lines behind the data.
pub(super) const GRID: RGBColor = RGBColor(0xDD, 0xE2, 0xE7);
/// Okabe and Ito's colours, which differ for every kind of colour vision; yellow, too light on white, left out.
pub(super) const SERIES: [RGBColor; 7] = [
    RGBColor(0x00, 0x72, 0xB2),
    RGBColor(0xD5, 0x5E, 0x00),
    RGBColor(0x00, 0x9E, 0x73),
    RGBColor(0xCC, 0x79, 0xA7),
    RGBColor(0xE6, 0x9F, 0x00),
    RGBColor(0x56, 0xB4, 0xE9),
    RGBColor(0x6B, 0x6F, 0x75),
];
/// Of genuine faces.
pub(super) const REAL: RGBColor = SERIES[0];
/// Of fakes.
pub(super) const FAKE: RGBColor = SERIES[1];

const FONT: &str = "sans-serif";
const SMALL: i32 = 13;

/// A line with its name.
pub(super) struct Line {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
    pub(super) colour: RGBColor,
    /// Drawn thin and with gaps.
    pub(super) dashed: bool,
}

/// Axes of a chart.
pub(super) struct Axes<'a> {
    pub(super) size: (u32, u32),
    pub(super) x: [f64; 2],
    pub(super) y: [f64; 2],
    pub(super) x_name: &'a str,
    pub(super) y_name: &'a str,
    /// Words right of the ends of lines take this many pixels; 0: a legend in the chart instead.
    pub(super) label_width: u32,
    /// Digits after the point.
    pub(super) digits: usize,
    pub(super) x_digits: usize,
}

/// Writes an SVG document with `draw`; an empty text where the drawing fails, which it does for nothing but absurd sizes.
fn svg(size: (u32, u32), draw: impl FnOnce(&Area<'_>) -> Result<(), Box<dyn std::error::Error>>) -> String {
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, size).into_drawing_area();
        if let Err(error) = draw(&area).and_then(|()| Ok(area.present()?)) {
            tracing::warn!("a chart is left out: {error}");
            return String::new();
        }
    }
    // Inside of HTML the name space goes without saying.
    text.replace(" xmlns=\"http://www.w3.org/2000/svg\"", "").replace("<svg ", "<svg role=\"img\" ")
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;
type Chart<'a, 'b> = ChartContext<
    'a,
    SVGBackend<'b>,
    Cartesian2d<plotters::coord::types::RangedCoordf64, plotters::coord::types::RangedCoordf64>,
>;

fn begin<'a, 'b>(area: &'a Area<'b>, axes: &Axes<'_>) -> Result<Chart<'a, 'b>, Box<dyn std::error::Error>> {
    let mut chart = ChartBuilder::on(area)
        .margin_top(12)
        .margin_left(4)
        .margin_right(12 + axes.label_width)
        .margin_bottom(2)
        .x_label_area_size(44)
        .y_label_area_size(58)
        .build_cartesian_2d(axes.x[0]..axes.x[1], axes.y[0]..axes.y[1])?;
    let (digits, x_digits) = (axes.digits, axes.x_digits);
    chart
        .configure_mesh()
        .x_desc(axes.x_name)
        .y_desc(axes.y_name)
        .axis_style(INK)
        .bold_line_style(GRID)
        .light_line_style(TRANSPARENT)
        .x_labels(6)
        .y_labels(6)
        .label_style((FONT, SMALL).into_font().color(&INK))
        .axis_desc_style((FONT, SMALL + 1).into_font().color(&INK))
        .x_label_formatter(&|v| format!("{v:.x_digits$}"))
        .y_label_formatter(&|v| if digits > 5 { format!("{v:.1e}") } else { format!("{v:.digits$}") })
        .draw()?;
    Ok(chart)
}

fn style(colour: RGBColor, width: u32) -> ShapeStyle {
    ShapeStyle { color: colour.to_rgba(), filled: false, stroke_width: width }
}

/// Lines over common axes; each is named at its right end, or in a legend at the lower right where `label_width` is 0. `marked` are points to
/// draw as dots, `guide` is a thin line behind everything.
pub(super) fn lines(
    axes: &Axes<'_>,
    lines: &[Line],
    marked: &[((f64, f64), RGBColor)],
    guide: &[(f64, f64)],
) -> String {
    svg(axes.size, |area| {
        let mut chart = begin(area, axes)?;
        if !guide.is_empty() {
            chart.draw_series(DashedLineSeries::new(guide.iter().copied(), 4, 4, style(INK, 1)))?;
        }
        for line in lines {
            let points = line.points.iter().copied();
            if line.dashed {
                chart.draw_series(DashedLineSeries::new(points, 7, 4, style(line.colour, 2)))?;
            } else {
                chart.draw_series(LineSeries::new(points, style(line.colour, 2)))?;
            }
        }
        for (point, colour) in marked {
            chart.draw_series([Circle::new(*point, 4, colour.filled())])?;
        }
        let (left, right, top, bottom) = {
            let (x, y) = chart.plotting_area().get_pixel_range();
            (x.start, x.end, y.start, y.end)
        };
        if axes.label_width > 0 {
            let end = |line: &Line| line.points.last().map(|p| chart.backend_coord(p).1);
            let mut ends: Vec<(i32, &Line)> = lines.iter().filter_map(|l| Some((end(l)?, l))).collect();
            ends.sort_by_key(|(y, _)| *y);
            spread(&mut ends, top, bottom);
            for (y, line) in ends {
                words(area, &line.name, (right + 7, y), line.colour, HPos::Left)?;
            }
        } else {
            for (i, line) in lines.iter().enumerate() {
                let y = bottom - 14 - 20 * (lines.len() - 1 - i) as i32;
                let x = left + (right - left) * 2 / 5;
                let dash = PathElement::new(vec![(x, y), (x + 22, y)], style(line.colour, 3));
                if line.dashed {
                    for k in 0..3 {
                        let piece = vec![(x + 8 * k, y), (x + 8 * k + 5, y)];
                        area.draw(&PathElement::new(piece, style(line.colour, 3)))?;
                    }
                } else {
                    area.draw(&dash)?;
                }
                words(area, &line.name, (x + 29, y), INK, HPos::Left)?;
            }
        }
        Ok(())
    })
}

/// Moves labels apart until none lies on another.
fn spread(labels: &mut [(i32, &Line)], top: i32, bottom: i32) {
    const APART: i32 = 16;
    for i in 1..labels.len() {
        labels[i].0 = labels[i].0.max(labels[i - 1].0 + APART);
    }
    let over = labels.last().map_or(0, |l| (l.0 - bottom).max(0));
    if over > 0
        && let Some(last) = labels.last_mut()
    {
        last.0 -= over;
    }
    for i in (1..labels.len()).rev() {
        labels[i - 1].0 = labels[i - 1].0.min(labels[i].0 - APART).max(top);
    }
}

fn words(
    area: &Area<'_>,
    text: &str,
    at: (i32, i32),
    colour: RGBColor,
    side: HPos,
) -> Result<(), Box<dyn std::error::Error>> {
    let font = (FONT, SMALL).into_font().color(&colour).pos(Pos::new(side, VPos::Center));
    area.draw(&Text::new(text.to_owned(), at, font))?;
    Ok(())
}

/// Two histograms over each other, as shares of their class, with the thresholds of the verdict.
pub(super) fn histogram(size: (u32, u32), real: &[usize], fake: &[usize], real_below: f64, fake_above: f64) -> String {
    let share = |of: &[usize]| -> Vec<f64> {
        let all = of.iter().sum::<usize>().max(1) as f64;
        of.iter().map(|n| 100.0 * *n as f64 / all).collect()
    };
    let (real, fake) = (share(real), share(fake));
    let most = real.iter().chain(&fake).copied().fold(1.0, f64::max) * 1.18;
    let axes = Axes {
        size,
        x: [0.0, 1.0],
        y: [0.0, most],
        x_name: "score (calibrated probability of fake)",
        y_name: "share of the class, %",
        label_width: 0,
        digits: 0,
        x_digits: 1,
    };
    svg(size, |area| {
        let mut chart = begin(area, &axes)?;
        for (shares, colour) in [(&real, REAL), (&fake, FAKE)] {
            let width = 1.0 / shares.len() as f64;
            let steps: Vec<(f64, f64)> = shares
                .iter()
                .enumerate()
                .flat_map(|(i, v)| [(i as f64 * width, *v), ((i + 1) as f64 * width, *v)])
                .collect();
            chart.draw_series(AreaSeries::new(steps.iter().copied(), 0.0, colour.mix(0.22)))?;
            chart.draw_series(LineSeries::new(steps, style(colour, 2)))?;
        }
        for (at, side) in [(real_below, HPos::Right), (fake_above, HPos::Left)] {
            chart.draw_series(DashedLineSeries::new([(at, 0.0), (at, most)], 4, 4, style(INK, 1)))?;
            let (x, y) = chart.backend_coord(&(at, most));
            let (text, x) = match side {
                HPos::Right => (format!("\u{2264} {at:.2} real"), x - 5),
                _ => (format!("\u{2265} {at:.2} fake"), x + 5),
            };
            // A label that would leave the chart goes to the other side of its line.
            let (x, side) = match side {
                HPos::Right if at < 0.18 => (x + 10, HPos::Left),
                HPos::Left if at > 0.82 => (x - 10, HPos::Right),
                side => (x, side),
            };
            words(area, &text, (x, y + 9), INK, side)?;
        }
        let (x, y) = chart.backend_coord(&(0.5, most));
        for (row, text, colour) in [(0, "real faces", REAL), (1, "fakes", FAKE)] {
            let y = y + 30 + 18 * row;
            area.draw(&Rectangle::new([(x - 40, y - 5), (x - 28, y + 5)], colour.mix(0.6).filled()))?;
            words(area, text, (x - 22, y), INK, HPos::Left)?;
        }
        Ok(())
    })
}

/// What was said against what was, with dots as large as the share of faces behind them.
pub(super) fn reliability(size: (u32, u32), before: &[Bin], after: &[Bin]) -> String {
    let axes = Axes {
        size,
        x: [0.0, 1.0],
        y: [0.0, 1.0],
        x_name: "mean score of the bin",
        y_name: "share of fakes in it",
        label_width: 0,
        digits: 1,
        x_digits: 1,
    };
    svg(size, |area| {
        let mut chart = begin(area, &axes)?;
        chart.draw_series(DashedLineSeries::new([(0.0, 0.0), (1.0, 1.0)], 4, 4, style(INK, 1)))?;
        let all = before.iter().map(|b| b.faces).sum::<usize>().max(1) as f64;
        for (bins, colour) in [(before, SERIES[6]), (after, SERIES[2])] {
            let filled = || bins.iter().filter(|b| b.faces > 0);
            chart.draw_series(LineSeries::new(filled().map(|b| (b.probability, b.fakes)), style(colour, 2)))?;
            chart.draw_series(filled().map(|b| {
                let radius = 2.0 + 14.0 * (b.faces as f64 / all).sqrt();
                Circle::new((b.probability, b.fakes), radius as i32, colour.mix(0.55).filled())
            }))?;
        }
        let (x, y) = chart.backend_coord(&(0.04, 0.96));
        for (row, text, colour) in [(0, "temperature 1", SERIES[6]), (1, "as calibrated", SERIES[2])] {
            let y = y + 8 + 18 * row;
            area.draw(&Circle::new((x, y), 5, colour.mix(0.55).filled()))?;
            words(area, text, (x + 12, y), INK, HPos::Left)?;
        }
        Ok(())
    })
}

/// Figures with their intervals, one below the other, around a reference.
pub(crate) fn forest(width: u32, rows: &[(String, f64, Option<[f64; 2]>)], reference: f64, name: &str) -> String {
    let height = 60 + 30 * rows.len() as u32;
    let ends = rows.iter().flat_map(|(_, v, i)| i.map_or([*v, *v], |i| i)).chain([reference]);
    let (low, high) = ends.fold((f64::MAX, f64::MIN), |(l, h), v| (l.min(v), h.max(v)));
    let margin = ((high - low) * 0.08).max(0.01);
    let count = rows.len() as f64;
    svg((width, height), |area| {
        let mut chart = ChartBuilder::on(area)
            .margin(6)
            .margin_right(130)
            .x_label_area_size(44)
            .y_label_area_size(150)
            .build_cartesian_2d(low - margin..high + margin, 0.0..count)?;
        chart
            .configure_mesh()
            .disable_y_mesh()
            .disable_y_axis()
            .x_desc(name)
            .axis_style(INK)
            .bold_line_style(GRID)
            .light_line_style(TRANSPARENT)
            .x_labels(6)
            .label_style((FONT, SMALL).into_font().color(&INK))
            .axis_desc_style((FONT, SMALL + 1).into_font().color(&INK))
            .x_label_formatter(&|v| format!("{v:.2}"))
            .draw()?;
        chart.draw_series(DashedLineSeries::new([(reference, 0.0), (reference, count)], 4, 4, style(INK, 1)))?;
        for (i, (what, value, interval)) in rows.iter().enumerate() {
            let y = count - 0.5 - i as f64;
            let [low, high] = interval.unwrap_or([*value, *value]);
            chart.draw_series(LineSeries::new([(low, y), (high, y)], style(SERIES[0], 2)))?;
            chart.draw_series([Circle::new((*value, y), 5, SERIES[0].filled())])?;
            let (x, _) = chart.plotting_area().get_pixel_range();
            let at = chart.backend_coord(&(*value, y)).1;
            words(area, what, (x.start - 8, at), INK, HPos::Right)?;
            let text = match interval {
                Some([low, high]) => format!("{value:.3} [{low:.3}, {high:.3}]"),
                None => format!("{value:.3}"),
            };
            words(area, &text, (x.end + 6, at), INK, HPos::Left)?;
        }
        Ok(())
    })
}

/// A range that holds all values with some room, on round numbers.
pub(super) fn room(values: impl Iterator<Item = f64>, least: f64) -> [f64; 2] {
    let (low, high) = values.filter(|v| v.is_finite()).fold((f64::MAX, f64::MIN), |(l, h), v| (l.min(v), h.max(v)));
    if low > high {
        return [0.0, 1.0];
    }
    let span = (high - low).max(least);
    let middle = (low + high) / 2.0;
    [middle - 0.56 * span, middle + 0.56 * span]
}
