//! The two charts of the report. Each can be read without the text around it.

use super::late::Late;
use super::programs::Program;
use super::svg::{BLUE, INK, ORANGE, Picture, Side};
use crate::stats::geometric_mean;

const ROW: f64 = 22.0;
const TOP: f64 = 84.0;
const LEFT: f64 = 130.0;
const RIGHT: f64 = 730.0;
const WIDTH: f64 = 800.0;
const THIN: &str = r#"stroke-opacity="0.35""#;
const DASHED: &str = r#"stroke-dasharray="5 4" stroke-width="1.5""#;
const THICK: &str = r#"stroke-width="2" stroke-opacity="0.6""#;

/// From values to places, between `LEFT` and `RIGHT`.
struct Axis {
    from: f64,
    to: f64,
    place: fn(f64) -> f64,
}

impl Axis {
    fn x(&self, value: f64) -> f64 {
        let place = |value: f64| (self.place)(value.clamp(self.from, self.to));
        let part = (place(value) - place(self.from)) / (place(self.to) - place(self.from));
        LEFT + part * (RIGHT - LEFT)
    }
}

/// What each program costs under Leash, against the interpreters without.
pub fn cost(programs: &[Program]) -> String {
    let ratios = programs.iter().flat_map(|program| {
        let rounds = program.rounds();
        [
            Some(rounds.lower),
            Some(rounds.upper),
            Some(program.cost()),
            program.against_stock(),
        ]
    });
    let (low, high) = ratios
        .flatten()
        .fold((0.98, 1.04), |(low, high): (f64, f64), ratio| {
            (low.min(ratio), high.max(ratio))
        });
    let axis = Axis {
        from: (low * 50.0).floor() / 50.0,
        to: (high * 50.0).ceil() / 50.0,
        place: |ratio| ratio,
    };
    let bottom = TOP + ROW * (programs.len() + 1) as f64;
    let mut picture = Picture::new(WIDTH, bottom + 48.0);
    heading(
        &mut picture,
        "CPU time under leash run --timeout 60s, as a ratio (Lua 5.4; 1.00 is the same, less is faster)",
    );
    picture.dot((LEFT, 42.0), BLUE, "");
    let words =
        "to the plain interpreter around the same Lua library; the bar is half of the rounds";
    picture.text((LEFT + 10.0, 46.0), Side::Right, INK, words);
    picture.ring((LEFT, 62.0), ORANGE, "");
    let words = "to Debian's lua5.4, an older release by other compiler settings";
    picture.text((LEFT + 10.0, 66.0), Side::Right, INK, words);

    let step = if axis.to - axis.from > 0.3 { 10 } else { 2 };
    for hundredths in (axis.from * 100.0).round() as i64..=(axis.to * 100.0).round() as i64 {
        if hundredths % step == 0 {
            let label = format!("{:.2}", hundredths as f64 / 100.0);
            tick(
                &mut picture,
                axis.x(hundredths as f64 / 100.0),
                bottom,
                &label,
            );
        }
    }
    goal(&mut picture, axis.x(1.0), bottom, INK, ""); // its label is among the ticks
    goal(&mut picture, axis.x(1.02), bottom, ORANGE, "1.02");

    for (index, program) in programs.iter().enumerate() {
        let y = TOP + ROW * (index as f64 + 0.5);
        picture.text((LEFT - 10.0, y + 4.0), Side::Left, INK, &program.name);
        let rounds = program.rounds();
        let bar = (axis.x(rounds.lower), axis.x(rounds.upper));
        picture.line((bar.0, y), (bar.1, y), BLUE, THICK);
        if let Some(ratio) = program.against_stock() {
            picture.ring((axis.x(ratio), y), ORANGE, &format!("{ratio:.3}"));
        }
        let ratio = program.cost();
        picture.dot((axis.x(ratio), y), BLUE, &format!("{ratio:.3}"));
        picture.text(
            (RIGHT + 14.0, y + 4.0),
            Side::Right,
            BLUE,
            &format!("{ratio:.3}"),
        );
    }
    let y = bottom - ROW / 2.0;
    let mean = geometric_mean(programs.iter().map(Program::cost));
    picture.line((LEFT, bottom - ROW), (RIGHT, bottom - ROW), INK, THIN);
    picture.text((LEFT - 10.0, y + 4.0), Side::Left, INK, "geometric mean");
    let stock: Option<Vec<f64>> = programs.iter().map(Program::against_stock).collect();
    if let Some(stock) = stock {
        let mean = geometric_mean(stock);
        picture.ring((axis.x(mean), y), ORANGE, &format!("{mean:.3}"));
    }
    picture.dot((axis.x(mean), y), BLUE, &format!("{mean:.3}"));
    picture.text(
        (RIGHT + 14.0, y + 4.0),
        Side::Right,
        BLUE,
        &format!("{mean:.3}"),
    );
    picture.finish("What running under Leash costs")
}

/// How late the runaway examples are stopped, on each engine.
pub fn late(engines: &[Late]) -> String {
    let axis = Axis {
        from: 0.1,
        to: 200.0,
        place: f64::log10,
    };
    let row = 34.0;
    let bottom = TOP + row * engines.len() as f64;
    let mut picture = Picture::new(WIDTH, bottom + 48.0);
    heading(
        &mut picture,
        "Time from the limit to the end of the process, in milliseconds (logarithmic)",
    );
    picture.dot((LEFT, 42.0), BLUE, "");
    let words = "a runaway script: the median of its runs (at the left edge: 0.1 ms or less)";
    picture.text((LEFT + 10.0, 46.0), Side::Right, INK, words);
    let words = "ended: scripts that no hook reaches; the process had to be ended after the grace time of 1 s";
    picture.text((LEFT + 10.0, 66.0), Side::Right, INK, words);
    for label in [
        "0.1", "0.2", "0.5", "1", "2", "5", "10", "20", "50", "100", "200",
    ] {
        let value: f64 = label.parse().expect("it is a number");
        tick(&mut picture, axis.x(value), bottom, label);
    }
    goal(&mut picture, axis.x(50.0), bottom, ORANGE, "goal: 50 ms");
    for (index, late) in engines.iter().enumerate() {
        let y = TOP + row * (index as f64 + 0.5);
        picture.text((LEFT - 10.0, y + 4.0), Side::Left, INK, late.engine.name());
        let examples = late.examples();
        for (name, spread) in &examples {
            if let Some(spread) = spread {
                let words = format!("{name}: {:.1} ms", spread.median);
                picture.dot((axis.x(spread.median), y), BLUE, &words);
            }
        }
        let ended = examples
            .iter()
            .filter(|(_, spread)| spread.is_none())
            .count();
        if ended > 0 {
            let words = format!("{ended} ended");
            picture.text((RIGHT + 10.0, y + 4.0), Side::Right, INK, &words);
        }
    }
    picture.finish("How late Leash stops runaway scripts")
}

fn heading(picture: &mut Picture, words: &str) {
    picture.text((LEFT, 22.0), Side::Right, INK, words);
}

fn tick(picture: &mut Picture, x: f64, bottom: f64, label: &str) {
    picture.line((x, TOP), (x, bottom), INK, THIN);
    picture.text((x, bottom + 18.0), Side::Middle, INK, label);
}

fn goal(picture: &mut Picture, x: f64, bottom: f64, color: &str, label: &str) {
    picture.line((x, TOP - 4.0), (x, bottom), color, DASHED);
    picture.text((x, bottom + 38.0), Side::Middle, color, label);
}

#[cfg(test)]
mod tests {
    use super::super::programs::Times;
    use super::*;
    use crate::engine::Engine;

    #[test]
    fn an_axis_goes_from_edge_to_edge_and_no_further() {
        let axis = Axis {
            from: 0.1,
            to: 1000.0,
            place: f64::log10,
        };
        assert!((axis.x(10.0) - (LEFT + RIGHT) / 2.0).abs() < 1e-9);
        assert_eq!(axis.x(-3.0), LEFT);
        assert_eq!(axis.x(1e9), RIGHT);
    }

    #[test]
    fn the_charts_show_their_lines_and_rows() {
        let times = Times {
            cpu: vec![1.0],
            wall: vec![1.0],
        };
        let program = Program {
            name: "nbody".to_owned(),
            stock: None,
            plain: times.clone(),
            leash: times,
        };
        let chart = cost(&[program]);
        for words in ["nbody", ">1.00<", ">1.02<", "geometric mean"] {
            assert!(chart.contains(words), "{words}");
        }
        let none = Late {
            engine: Engine::Lua51,
            runs: Vec::new(),
        };
        assert!(late(&[none]).contains("goal: 50 ms"));
    }
}
