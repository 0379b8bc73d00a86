//! As much of SVG as the charts need: lines, dots and words, in colours that show on light and dark pages.

use std::fmt::Write;

/// Words, axes.
pub const INK: &str = "#7d8590";
/// What the chart is about.
pub const BLUE: &str = "#3b82f6";
/// Another kind of what the chart is about.
pub const TEAL: &str = "#0d9488";
/// What it is compared with, and goals.
pub const ORANGE: &str = "#d97706";

/// A picture that is being drawn.
pub struct Picture {
    width: f64,
    height: f64,
    body: String,
}

/// Where words are, seen from their place.
#[derive(Clone, Copy)]
pub enum Side {
    /// They begin there.
    Right,
    /// They are around it.
    Middle,
    /// They end there.
    Left,
}

impl Picture {
    /// An empty one.
    pub fn new(width: f64, height: f64) -> Picture {
        Picture {
            width,
            height,
            body: String::new(),
        }
    }

    /// Words.
    pub fn text(&mut self, (x, y): (f64, f64), side: Side, color: &str, words: &str) {
        let anchor = match side {
            Side::Right => "start",
            Side::Middle => "middle",
            Side::Left => "end",
        };
        let words = words
            .replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;");
        self.push(format_args!(
            r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}" fill="{color}">{words}</text>"#
        ));
    }

    /// A line; `style` is further attributes.
    pub fn line(&mut self, from: (f64, f64), to: (f64, f64), color: &str, style: &str) {
        let ((x1, y1), (x2, y2)) = (from, to);
        self.push(format_args!(
            r#"<line x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}" stroke="{color}" {style}/>"#
        ));
    }

    /// A filled dot, with words that appear when the mouse is over it.
    pub fn dot(&mut self, (x, y): (f64, f64), color: &str, words: &str) {
        self.push(format_args!(
            r#"<circle cx="{x:.1}" cy="{y:.1}" r="4" fill="{color}" fill-opacity="0.75"><title>{words}</title></circle>"#
        ));
    }

    /// A dot that is not filled.
    pub fn ring(&mut self, (x, y): (f64, f64), color: &str, words: &str) {
        self.push(format_args!(
            r#"<circle cx="{x:.1}" cy="{y:.1}" r="3.5" fill="none" stroke="{color}" stroke-width="1.5"><title>{words}</title></circle>"#
        ));
    }

    fn push(&mut self, element: std::fmt::Arguments<'_>) {
        writeln!(self.body, "  {element}").expect("a string takes everything");
    }

    /// The file.
    pub fn finish(self, title: &str) -> String {
        let Picture {
            width,
            height,
            body,
        } = self;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
             font-family=\"system-ui, sans-serif\" font-size=\"13\" role=\"img\">\n  <title>{title}</title>\n{body}</svg>\n"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_escaped() {
        let mut picture = Picture::new(10.0, 10.0);
        picture.text((1.0, 2.0), Side::Left, INK, "a < b & c");
        let text = picture.finish("t");
        assert!(text.contains("a &lt; b &amp; c"), "{text}");
        assert!(text.starts_with("<svg") && text.ends_with("</svg>\n"));
    }
}
