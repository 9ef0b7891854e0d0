//! The drawing: figures in, SVG out. It reads nothing and writes nothing.
//!
//! Axes, their lines and their words are made by plotters; what lies in them is placed by their scale and drawn here.

use std::ops::Range;

use plotters::coord::Shift;
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::axis::{Axis, log};
use super::figures::{BIN, Failover, Figures, Point, Tail};

const WIDTH: u32 = 1000;
/// What is left free at the left and the right.
const EDGE: i32 = 20;
/// Where axes end at the right: half of the words at their end stand beyond it.
const RIGHT: i32 = WIDTH as i32 - EDGE - 10;
/// Of one legend's entry: so many fit beside each other.
const ENTRY: i32 = 190;
const ENTRIES_IN_ROW: usize = 5;
const ROW: i32 = 22;

/// Where things begin, from above; the legend comes before all of it and takes what it needs.
const TITLE: i32 = 14;
const FACTS: i32 = 44;
const THROUGHPUT: i32 = 0;
const LATENCIES: i32 = 400;
const FAILOVER: i32 = 748;
const BOTTOM: i32 = 1076;

/// Heights of the axes.
const TALL: i32 = 310;
const SHORT: i32 = 260;
/// From a part's heading to its axes.
const HEADING: i32 = 48;
/// Room for the words at an axis.
const WORDS_LEFT: i32 = 62;
const WORDS_BELOW: i32 = 26;

/// Standin's own colour, and those of the others: seven that are told apart by the colour-blind, too (Okabe and Ito).
const OURS: RGBColor = RGBColor(0, 114, 178);
const OTHERS: [RGBColor; 6] = [
    RGBColor(90, 90, 90),
    RGBColor(230, 159, 0),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
];
const INK: RGBColor = RGBColor(30, 30, 30);
const PALE: RGBColor = RGBColor(225, 225, 225);
const ALARM: RGBColor = RGBColor(213, 94, 0);

/// Of each part: between which heights its values lie, counted from below the legend.
#[cfg(test)]
pub(super) const FRAMES: [(i32, i32); 3] = [
    frame(THROUGHPUT, TALL),
    frame(LATENCIES, SHORT),
    frame(FAILOVER, SHORT),
];

#[cfg(test)]
const fn frame(top: i32, height: i32) -> (i32, i32) {
    (top + HEADING, top + HEADING + height - WORDS_BELOW)
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), DrawingAreaErrorKind<std::io::Error>>;
type Pixel = (i32, i32);

/// The service that is drawn in [`OURS`].
const SUBJECT: &str = "standin";

/// The whole drawing, as a file's text.
pub(super) fn draw(figures: &Figures) -> String {
    let (legend, top) = layout(figures);
    let height = u32::try_from(top + BOTTOM).expect("it is above zero");
    let mut text = String::new();
    let area = SVGBackend::with_string(&mut text, (WIDTH, height)).into_drawing_area();
    let canvas = Canvas { area };
    canvas
        .draw(figures, legend, top)
        .expect("a string takes whatever is written");
    drop(canvas);
    text
}

/// Where the legend begins, and where the parts do, from above.
pub(super) fn layout(figures: &Figures) -> (i32, i32) {
    let rows = figures.services.len().div_ceil(ENTRIES_IN_ROW);
    let rows = i32::try_from(rows).expect("there are few services");
    let facts = i32::try_from(figures.facts.len()).expect("they are few");
    let legend = FACTS + facts * ROW + 8;
    (legend, legend + rows * ROW + 16)
}

struct Canvas<'a> {
    area: Area<'a>,
}

/// How a service looks.
#[derive(Clone, Copy)]
struct Look {
    colour: RGBColor,
    mark: usize,
    width: u32,
}

/// The look of each service.
fn looks(services: &[&str]) -> Vec<Look> {
    let mut others = 0;
    let look = |name: &&str| {
        if *name == SUBJECT {
            return Look {
                colour: OURS,
                mark: 0,
                width: 3,
            };
        }
        let nth = others;
        others += 1;
        Look {
            colour: OTHERS[nth % OTHERS.len()],
            // Four marks beside Standin's and six colours: the same of both comes again after 24.
            mark: 1 + (nth + nth / 12) % 4,
            width: 2,
        }
    };
    services.iter().map(look).collect()
}

impl Canvas<'_> {
    fn draw(&self, figures: &Figures, legend: i32, top: i32) -> Drawn {
        self.area.fill(&WHITE)?;
        let title = "Standin, measured: throughput, latency, and a pulled plug";
        self.bold(title, 21, (EDGE, TITLE))?;
        for (fact, at) in figures.facts.iter().zip(0..) {
            self.plain(fact, 14, (EDGE, FACTS + at * ROW))?;
        }
        let looks = looks(&figures.services);
        self.legend(&figures.services, &looks, legend)?;
        self.throughput(figures, &looks, top + THROUGHPUT)?;
        self.latencies(figures, &looks, top + LATENCIES)?;
        self.failover(&figures.failover, top + FAILOVER)?;
        self.area.present()
    }

    fn legend(&self, services: &[&str], looks: &[Look], top: i32) -> Drawn {
        for ((name, look), at) in services.iter().zip(looks).zip(0..) {
            let (column, row) = (at % ENTRIES_IN_ROW, at / ENTRIES_IN_ROW);
            let x = EDGE + ENTRY * i32::try_from(column).expect("few");
            let y = top + ROW * i32::try_from(row).expect("few") + ROW / 2;
            self.line(vec![(x, y), (x + 30, y)], look.colour, look.width)?;
            self.mark((x + 15, y), *look)?;
            let anchor = Pos::new(HPos::Left, VPos::Center);
            self.write(name, 14, FontStyle::Normal, anchor, (x + 38, y), INK)?;
        }
        Ok(())
    }

    fn throughput(&self, figures: &Figures, looks: &[Look], top: i32) -> Drawn {
        self.bold("(a) Throughput against connections", 16, (EDGE, top))?;
        let words = format!("requests/s, {}; bars: all rounds", figures.sweep);
        self.plain(&words, 13, (EDGE, top + 22))?;
        let points = || figures.throughput.iter().flatten();
        let mut counts: Vec<u32> = points().map(|point| point.connections).collect();
        counts.sort_unstable();
        counts.dedup();
        let x = Axis::connections(&counts);
        let y = Axis::counts(points().map(|point| point.most).fold(0.0, f64::max));
        let place = (EDGE, top + HEADING, RIGHT, top + HEADING + TALL);
        let at = self.axes(place, &x, &y)?;
        let end = top + HEADING + TALL + 4;
        self.centred("connections", 13, (place.2 / 2 + WORDS_LEFT / 2, end), INK)?;
        for (points, look) in figures.throughput.iter().zip(looks) {
            let pixel = |point: &Point, value| at(log(f64::from(point.connections)), value);
            let line = points.iter().map(|point| pixel(point, point.median));
            self.line(line.collect(), look.colour, look.width)?;
            for point in points {
                self.bar(
                    pixel(point, point.least),
                    pixel(point, point.most),
                    look.colour,
                )?;
                self.mark(pixel(point, point.median), *look)?;
            }
        }
        Ok(())
    }

    fn latencies(&self, figures: &Figures, looks: &[Look], top: i32) -> Drawn {
        self.bold(
            "(b) Latency: so many percent of all requests took no longer",
            16,
            (EDGE, top),
        )?;
        let count = i32::try_from(figures.latencies.len().max(1)).expect("few");
        let width = (RIGHT - EDGE) / count;
        for ((load, curves), nth) in figures.latencies.iter().zip(0..) {
            let left = EDGE + nth * width;
            self.plain(&format!("{load}; bands: all rounds"), 13, (left, top + 22))?;
            let values = curves.iter().flatten();
            let x = Axis::percentiles();
            let y = Axis::latencies(values.flat_map(|tail| [tail.least, tail.most]));
            let right = left + width - if nth + 1 < count { 2 * EDGE } else { 0 };
            let place = (left, top + HEADING, right, top + HEADING + SHORT);
            let at = self.axes(place, &x, &y)?;
            for (curve, look) in curves.iter().zip(looks) {
                self.curve(curve, *look, &at)?;
            }
        }
        Ok(())
    }

    fn curve(&self, curve: &[Tail], look: Look, at: &dyn Fn(f64, f64) -> Pixel) -> Drawn {
        let pixel = |tail: &Tail, us: u64| at(log(f64::from(tail.one_in)), log(us as f64));
        let band = curve.iter().map(|tail| pixel(tail, tail.least));
        let band = band.chain(curve.iter().rev().map(|tail| pixel(tail, tail.most)));
        let band: Vec<Pixel> = band.collect();
        if band.len() > 2 {
            self.area
                .draw(&Polygon::new(band, look.colour.mix(0.13).filled()))?;
        }
        let line = curve.iter().map(|tail| pixel(tail, tail.median));
        self.line(line.collect(), look.colour, look.width)?;
        curve
            .iter()
            .try_for_each(|tail| self.mark(pixel(tail, tail.median), look))
    }

    fn failover(&self, failover: &Failover, top: i32) -> Drawn {
        let title = "(c) The primary's plug is pulled: kill -9 of all of that replica's processes";
        self.bold(title, 16, (EDGE, top))?;
        let words = format!("answers in each 10 ms, {}", failover.words);
        self.plain(&words, 13, (EDGE, top + 22))?;
        let seconds = |us: i64| us as f64 / 1e6;
        let bin_us = i64::try_from(BIN.as_micros()).expect("it is short");
        let bins = failover.answers.iter().zip(0..);
        let until = |count: i64| seconds(failover.from_us + count * bin_us);
        let count = i64::try_from(failover.answers.len()).unwrap_or(0).max(1);
        let x = Axis::seconds(until(0)..until(count));
        let most = failover.answers.iter().copied().max().unwrap_or(0);
        // Above the line there is room for words.
        let y = Axis::counts(f64::from(most)).with_room(0.2);
        let place = (EDGE, top + HEADING, RIGHT, top + HEADING + SHORT);
        let at = self.axes(place, &x, &y)?;
        let (_, ceiling) = at(0.0, y.range.end);
        let (_, floor) = at(0.0, 0.0);
        if let Some((from, until)) = failover.gap_us {
            let length = until - from;
            // What came before is not drawn.
            let from = from.max(failover.from_us);
            self.gap(
                at(seconds(from), 0.0).0..at(seconds(until), 0.0).0,
                (ceiling, floor),
                length,
            )?;
        }
        let line = bins.map(|(answers, nth)| {
            let middle = seconds(failover.from_us + nth * bin_us + bin_us / 2);
            at(middle, f64::from(*answers))
        });
        self.line(line.collect(), OURS, 1)?;
        let (x, _) = at(0.0, 0.0);
        self.line(vec![(x, ceiling), (x, floor)], ALARM, 2)?;
        let anchor = Pos::new(HPos::Right, VPos::Top);
        self.write(
            "plug pulled",
            14,
            FontStyle::Bold,
            anchor,
            (x - 8, ceiling + 8),
            ALARM,
        )
    }

    /// The time without an answer, and how long it is.
    fn gap(&self, x: Range<i32>, (ceiling, floor): Pixel, us: i64) -> Drawn {
        let shade = Rectangle::new(
            [(x.start, ceiling), (x.end, floor)],
            ALARM.mix(0.1).filled(),
        );
        self.area.draw(&shade)?;
        let y = ceiling + 32;
        self.line(vec![(x.start, y), (x.end, y)], INK, 1)?;
        for end in [x.start, x.end] {
            self.line(vec![(end, y - 4), (end, y + 4)], INK, 1)?;
        }
        let words = format!("{} ms without an answer", us / 1000);
        let anchor = Pos::new(HPos::Left, VPos::Top);
        self.write(
            &words,
            14,
            FontStyle::Bold,
            anchor,
            (x.start + 8, ceiling + 8),
            INK,
        )
    }

    /// Draws a frame with its axes into a place (left, top, right, bottom), and returns where values lie in it.
    fn axes(
        &self,
        (left, top, right, bottom): (i32, i32, i32, i32),
        x: &Axis,
        y: &Axis,
    ) -> Result<impl Fn(f64, f64) -> Pixel, DrawingAreaErrorKind<std::io::Error>> {
        let place = self
            .area
            .clone()
            .shrink((left, top), (right - left, bottom - top));
        let mut chart = ChartBuilder::on(&place)
            .set_label_area_size(LabelAreaPosition::Left, WORDS_LEFT)
            .set_label_area_size(LabelAreaPosition::Bottom, WORDS_BELOW)
            .build_cartesian_2d(Scale(x.clone()), Scale(y.clone()))?;
        let style = ("sans-serif", size(13)).into_font().color(&INK);
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(PALE)
            .axis_style(INK)
            .label_style(style)
            .draw()?;
        Ok(move |x, y| chart.backend_coord(&(x, y)))
    }

    fn line(&self, points: Vec<Pixel>, colour: RGBColor, width: u32) -> Drawn {
        // A line of one point is none.
        match points.len() {
            0 | 1 => Ok(()),
            _ => self
                .area
                .draw(&PathElement::new(points, colour.stroke_width(width))),
        }
    }

    /// From the least to the most.
    fn bar(&self, least: Pixel, most: Pixel, colour: RGBColor) -> Drawn {
        self.line(vec![least, most], colour, 1)?;
        [least, most]
            .into_iter()
            .try_for_each(|(x, y)| self.line(vec![(x - 4, y), (x + 4, y)], colour, 1))
    }

    fn mark(&self, (x, y): Pixel, look: Look) -> Drawn {
        let full = look.colour.filled();
        match look.mark {
            0 => self.area.draw(&Circle::new((x, y), 4, full)),
            1 => self
                .area
                .draw(&Rectangle::new([(x - 4, y - 4), (x + 4, y + 4)], full)),
            2 => self.area.draw(&TriangleMarker::new((x, y), 6, full)),
            3 => {
                let diamond = vec![(x, y - 6), (x + 6, y), (x, y + 6), (x - 6, y)];
                self.area.draw(&Polygon::new(diamond, full))
            }
            _ => self
                .area
                .draw(&Cross::new((x, y), 4, look.colour.stroke_width(2))),
        }
    }

    fn plain(&self, text: &str, pixels: i32, at: Pixel) -> Drawn {
        let anchor = Pos::new(HPos::Left, VPos::Top);
        self.write(text, pixels, FontStyle::Normal, anchor, at, INK)
    }

    fn bold(&self, text: &str, pixels: i32, at: Pixel) -> Drawn {
        let anchor = Pos::new(HPos::Left, VPos::Top);
        self.write(text, pixels, FontStyle::Bold, anchor, at, INK)
    }

    fn centred(&self, text: &str, pixels: i32, at: Pixel, colour: RGBColor) -> Drawn {
        let anchor = Pos::new(HPos::Center, VPos::Top);
        self.write(text, pixels, FontStyle::Normal, anchor, at, colour)
    }

    fn write(
        &self,
        text: &str,
        pixels: i32,
        style: FontStyle,
        anchor: Pos,
        at: Pixel,
        colour: RGBColor,
    ) -> Drawn {
        let font = ("sans-serif", size(pixels), style)
            .into_font()
            .color(&colour)
            .pos(anchor);
        self.area.draw(&Text::new(text, at, font))
    }
}

/// An axis, as plotters asks for it.
struct Scale(Axis);

impl Ranged for Scale {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        RangedCoordf64::from(self.range()).map(value, limit)
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        if hint.weight().allow_light_points() {
            return Vec::new();
        }
        self.0.marks.iter().map(|(at, _)| *at).collect()
    }

    fn range(&self) -> Range<f64> {
        self.0.range.clone()
    }
}

impl ValueFormatter<f64> for Scale {
    fn format_ext(&self, value: &f64) -> String {
        self.0.words(*value)
    }
}

/// The size of a font in pixels, as plotters counts: it makes it less by as much.
fn size(pixels: i32) -> f64 {
    f64::from(pixels) * 1.24
}
