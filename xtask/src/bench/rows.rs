//! A chart of rows: a name on the left, marks along one axis, and words on the right.
//!
//! It can be read without the text around it: a heading says what the axis is, a legend what the marks are, dashed lines are goals.

use super::svg::{INK, ORANGE, Picture, Side};

const ROW: f64 = 24.0;
const LEAST_LEFT: f64 = 100.0;
const WIDTH: f64 = 800.0;
const LEGEND: f64 = 20.0;
const THIN: &str = r#"stroke-opacity="0.35""#;
const DASHED: &str = r#"stroke-dasharray="5 4" stroke-width="1.5""#;
const THICK: &str = r#"stroke-width="2" stroke-opacity="0.6""#;

/// How a value is marked: a filled dot or a ring, in a colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Filled.
    Dot(&'static str),
    /// Not filled.
    Ring(&'static str),
}

/// One row.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// On the left.
    pub name: String,
    /// Values, with words that appear when the mouse is over them. The last is drawn on top.
    pub marks: Vec<(Mark, f64, String)>,
    /// A bar, in a colour.
    pub bar: Option<(&'static str, f64, f64)>,
    /// On the right.
    pub words: String,
}

/// The chart.
pub struct Rows<'a> {
    /// For those who cannot see it.
    pub title: &'a str,
    /// What the axis is.
    pub heading: &'a str,
    /// What the marks mean.
    pub legend: Vec<(Mark, &'a str)>,
    /// Lines across, with their labels. The first and the last are the edges.
    pub ticks: &'a [f64],
    /// Whether the axis is logarithmic.
    pub logarithmic: bool,
    /// Dashed lines.
    pub goals: &'a [(f64, &'a str)],
    /// From the top.
    pub rows: Vec<Row>,
}

impl Rows<'_> {
    /// The file.
    pub fn draw(&self) -> String {
        let top = 44.0 + LEGEND * self.legend.len() as f64;
        let bottom = top + ROW * self.rows.len() as f64;
        let mut picture = Picture::new(WIDTH, bottom + 48.0);
        picture.text((10.0, 22.0), Side::Right, INK, self.heading);
        for (index, (mark, words)) in self.legend.iter().enumerate() {
            let y = 44.0 + LEGEND * index as f64;
            draw(&mut picture, *mark, (self.left(), y), "");
            picture.text((self.left() + 12.0, y + 4.0), Side::Right, INK, words);
        }
        for &tick in self.ticks {
            let x = self.x(tick);
            picture.line((x, top), (x, bottom), INK, THIN);
            picture.text((x, bottom + 18.0), Side::Middle, INK, &tick.to_string());
        }
        for &(value, label) in self.goals {
            let x = self.x(value);
            picture.line((x, top - 4.0), (x, bottom), ORANGE, DASHED);
            picture.text((x, bottom + 38.0), Side::Middle, ORANGE, label);
        }
        for (index, row) in self.rows.iter().enumerate() {
            let y = top + ROW * (index as f64 + 0.5);
            picture.text((self.left() - 14.0, y + 4.0), Side::Left, INK, &row.name);
            if let Some((color, from, to)) = row.bar {
                picture.line((self.x(from), y), (self.x(to), y), color, THICK);
            }
            for (mark, value, words) in &row.marks {
                draw(&mut picture, *mark, (self.x(*value), y), words);
            }
            let at = (self.right() + 14.0, y + 4.0);
            picture.text(at, Side::Right, INK, &row.words);
        }
        picture.finish(self.title)
    }

    /// The left edge of the axis: there is room for the names beside it. (Capital letters take nine.)
    fn left(&self) -> f64 {
        let wide = |c: char| if c.is_uppercase() { 9.5 } else { 7.0 };
        let names = self.rows.iter().map(|row| &row.name);
        let longest = names.map(|name| name.chars().map(wide).sum::<f64>());
        longest.fold(LEAST_LEFT, |left, name| left.max(name + 24.0))
    }

    /// The right edge of the axis: there is room for the words beside it.
    fn right(&self) -> f64 {
        let longest = self.rows.iter().map(|row| row.words.chars().count()).max();
        WIDTH - 30.0 - 7.0 * longest.unwrap_or(0) as f64
    }

    /// Where a value is. What is beyond the edges is at the edges.
    fn x(&self, value: f64) -> f64 {
        let place = |value: f64| match self.logarithmic {
            true => value.ln(),
            false => value,
        };
        let first = self.ticks.first().copied().unwrap_or(0.0);
        let last = self.ticks.last().copied().unwrap_or(1.0);
        let part = (place(value.clamp(first, last)) - place(first)) / (place(last) - place(first));
        self.left() + part * (self.right() - self.left())
    }
}

fn draw(picture: &mut Picture, mark: Mark, at: (f64, f64), words: &str) {
    match mark {
        Mark::Dot(color) => picture.dot(at, color, words),
        Mark::Ring(color) => picture.ring(at, color, words),
    }
}

#[cfg(test)]
mod tests {
    use super::super::svg::BLUE;
    use super::*;

    fn chart() -> Rows<'static> {
        Rows {
            title: "title",
            heading: "heading",
            legend: vec![(Mark::Dot(BLUE), "blue ones")],
            ticks: &[1.0, 10.0, 100.0],
            logarithmic: true,
            goals: &[(50.0, "goal: 50")],
            rows: vec![Row {
                name: "first".to_owned(),
                marks: vec![(Mark::Dot(BLUE), 7.0, "seven".to_owned())],
                bar: Some((BLUE, 5.0, 9.0)),
                words: String::new(),
            }],
        }
    }

    #[test]
    fn everything_is_in_it() {
        let text = chart().draw();
        for part in [
            "heading",
            "blue ones",
            ">100<",
            "goal: 50",
            "first",
            "seven",
        ] {
            assert!(text.contains(part), "{part}");
        }
    }

    #[test]
    fn the_axis_ends_at_its_edges() {
        let chart = chart();
        let left = chart.left();
        assert_eq!((chart.x(0.01), chart.x(1.0)), (left, left));
        assert_eq!(chart.x(1e6), chart.right());
        let middle = (left + chart.right()) / 2.0;
        assert!((chart.x(10.0) - middle).abs() < 1e-9);
    }
}
