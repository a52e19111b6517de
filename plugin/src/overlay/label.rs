//! Labels as pictures: a coloured chip with the verdict, and what there is to say on a dark ground.

use std::f64::consts::{FRAC_PI_2, PI};

use pangocairo::{cairo, pango};

use super::blend::{Argb, Picture};

/// What a label says, and how.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Label {
    /// On the chip.
    pub(super) title: String,
    /// Beside it.
    pub(super) text: String,
    /// At the end, less bright.
    pub(super) note: String,
    /// Of the chip.
    pub(super) colour: [u8; 3],
}

/// The font of all labels.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Font {
    /// As Pango describes fonts.
    pub(super) name: String,
    /// In pixels, for a font that does not say its own.
    pub(super) size: f64,
}

impl Font {
    fn description(&self) -> pango::FontDescription {
        let mut description = pango::FontDescription::from_string(&self.name);
        if description.size() == 0 {
            description.set_absolute_size(self.size * f64::from(pango::SCALE));
        }
        description
    }
}

/// Draws a label.
///
/// # Errors
///
/// Where cairo has no memory.
pub(super) fn picture(label: &Label, font: &Font) -> Result<Picture, cairo::Error> {
    let measure = cairo::Context::new(cairo::ImageSurface::create(cairo::Format::ARgb32, 1, 1)?)?;
    let plain = font.description();
    let mut bold = plain.clone();
    bold.set_weight(pango::Weight::Bold);
    let parts: Vec<_> = [(&label.title, &bold), (&label.text, &plain), (&label.note, &plain)]
        .into_iter()
        .filter(|(text, _)| !text.is_empty())
        .map(|(text, font)| {
            let layout = pangocairo::functions::create_layout(&measure);
            layout.set_font_description(Some(font));
            layout.set_text(text);
            let (width, height) = layout.pixel_size();
            (layout, f64::from(width), f64::from(height))
        })
        .collect();
    let height = parts.iter().map(|p| p.2).fold(0.0, f64::max);
    let (beside, above) = ((height * 0.35).ceil(), (height * 0.12).ceil());
    let chip = parts.first().map_or(0.0, |p| p.1 + 2.0 * beside);
    let rest: f64 = parts.iter().skip(1).map(|p| p.1 + beside).sum();
    let rest = if rest > 0.0 { rest + beside } else { 0.0 };
    let (width, height) = (chip + rest, height + 2.0 * above);

    let surface = cairo::ImageSurface::create(cairo::Format::ARgb32, width as i32, height as i32)?;
    let cr = cairo::Context::new(&surface)?;
    rounded(&cr, width, height, (height * 0.18).round());
    cr.clip();
    cr.set_source_rgba(0.04, 0.04, 0.05, 0.78);
    cr.paint()?;
    let [r, g, b] = label.colour.map(|c| f64::from(c) / 255.0);
    cr.set_source_rgb(r, g, b);
    cr.rectangle(0.0, 0.0, chip, height);
    cr.fill()?;
    let mut x = beside;
    for (index, (layout, width, part_height)) in parts.iter().enumerate() {
        // Dark on light chips, light on everything else.
        let light = 0.3 * r + 0.59 * g + 0.11 * b;
        let (ink, alpha) = match index {
            0 if light > 0.6 => (0.05, 1.0),
            0 => (1.0, 1.0),
            _ if index + 1 == parts.len() && !label.note.is_empty() => (1.0, 0.7),
            _ => (1.0, 0.97),
        };
        cr.set_source_rgba(ink, ink, ink, alpha);
        cr.move_to(x, ((height - part_height) / 2.0).round());
        pangocairo::functions::show_layout(&cr, layout);
        x += width + if index == 0 { 2.0 * beside } else { beside };
    }
    drop(cr);
    read(surface)
}

fn rounded(cr: &cairo::Context, width: f64, height: f64, radius: f64) {
    cr.new_sub_path();
    cr.arc(width - radius, radius, radius, -FRAC_PI_2, 0.0);
    cr.arc(width - radius, height - radius, radius, 0.0, FRAC_PI_2);
    cr.arc(radius, height - radius, radius, FRAC_PI_2, PI);
    cr.arc(radius, radius, radius, PI, 3.0 * FRAC_PI_2);
    cr.close_path();
}

fn read(mut surface: cairo::ImageSurface) -> Result<Picture, cairo::Error> {
    let (width, height, stride) = (surface.width() as usize, surface.height() as usize, surface.stride() as usize);
    // Nobody else draws on it any more.
    let data = surface.data().map_err(|_| cairo::Error::SurfaceFinished)?;
    let pixels = data
        .chunks_exact(stride)
        .flat_map(|row| row.as_chunks().0.iter().take(width).map(|p| Argb::from_ne_bytes(*p)))
        .collect();
    Ok(Picture { width, height, pixels })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(title: &str, text: &str) -> Label {
        Label { title: title.into(), text: text.into(), note: String::new(), colour: [200, 0, 0] }
    }

    #[test]
    fn labels_have_a_chip_a_ground_and_letters() {
        let font = Font { name: "Sans".into(), size: 24.0 };
        let picture = picture(&label("FAKE", "87 %"), &font).unwrap();
        assert_eq!(picture.pixels.len(), picture.width * picture.height);
        let count = |of: fn([u8; 4]) -> bool| picture.pixels.iter().filter(|p| of(p.to_be_bytes())).count();
        let chip = count(|p| p == [255, 200, 0, 0]);
        let ground = count(|[a, r, _, _]| (190..210).contains(&a) && r < 16);
        let letters = count(|[a, r, g, b]| a > 240 && r.min(g).min(b) > 200);
        for part in [chip, ground, letters] {
            assert!(part > picture.pixels.len() / 40, "{chip} {ground} {letters}");
        }
        // The corners are round.
        assert_eq!(picture.pixels[0] >> 24, 0);
    }

    #[test]
    fn labels_grow_with_the_font_and_the_text() {
        let size = |text: &str, name: &str, size| {
            let picture = picture(&label("REAL", text), &Font { name: name.into(), size }).unwrap();
            (picture.width, picture.height)
        };
        let (short, low) = size("", "Sans", 12.0);
        let (long, _) = size("12 % fake", "Sans", 12.0);
        let (_, high) = size("", "Sans", 48.0);
        assert!(long > short + 20 && high > 3 * low, "{short} {long} {low} {high}");
        // A font that has a size keeps it.
        assert_eq!(size("", "Sans 30px", 12.0), size("", "Sans 30px", 90.0));
    }
}
