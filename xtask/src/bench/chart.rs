//! Curves, as SVG for `docs/bench/`.
#![expect(clippy::float_arithmetic, reason = "a measurement is not money")]

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::coord::ranged1d::ValueFormatter;
use plotters::drawing::DrawingAreaErrorKind;
use plotters::prelude::{
    BLACK, Cartesian2d, ChartBuilder, ChartContext, Circle, Color, DrawingBackend, IntoDrawingArea, IntoFont,
    IntoLogRange, LineSeries, PathElement, RGBColor, Ranged, SVGBackend, SeriesLabelPosition, TRANSPARENT,
    Text, WHITE,
};

const SIZE: (u32, u32) = (880, 520);
const COLORS: [RGBColor; 5] = [
    RGBColor(0, 90, 181),
    RGBColor(220, 50, 32),
    RGBColor(90, 90, 90),
    RGBColor(120, 94, 240),
    RGBColor(0, 140, 100),
];

/// Some curves over a logarithmic axis.
#[derive(Debug)]
pub(super) struct Chart<'a> {
    pub(super) title: &'a str,
    /// Where from: shown below.
    pub(super) machine: &'a str,
    pub(super) x: &'a str,
    pub(super) y: &'a str,
    /// Whether the upright axis is logarithmic too.
    pub(super) is_log: bool,
    pub(super) curves: Vec<Curve>,
}

/// A curve: its name and its points.
pub(super) type Curve = (String, Vec<(f64, f64)>);

impl Chart<'_> {
    /// Draws into a file.
    pub(super) fn draw(&self, path: &Path) -> Result<()> {
        let failed = |error: &dyn std::fmt::Display| anyhow!("cannot draw {}: {error}", path.display());
        let points = || self.curves.iter().flat_map(|(_, points)| points.iter().copied());
        let right = points().map(|(x, _)| x).fold(2.0, f64::max);
        let top = points().map(|(_, y)| y).fold(1e-9, f64::max) * 1.15;
        let bottom = points().map(|(_, y)| y).filter(|y| *y > 0.0).fold(top, f64::min) / 1.5;
        let root = SVGBackend::new(path, SIZE).into_drawing_area();
        root.fill(&WHITE).map_err(|error| failed(&error))?;
        let place = (14, i32::try_from(SIZE.1).unwrap_or_default() - 18);
        root.draw(&Text::new(self.machine.to_owned(), place, ("sans-serif", 13).into_font()))
            .map_err(|error| failed(&error))?;
        let area = root.margin(8, 26, 8, 16);
        let mut builder = ChartBuilder::on(&area);
        builder.caption(self.title, ("sans-serif", 20)).x_label_area_size(44).y_label_area_size(76);
        let across = (1.0..right).log_scale();
        let drawn = if self.is_log {
            builder.build_cartesian_2d(across, (bottom..top).log_scale()).map(|chart| self.plot(chart))
        } else {
            builder.build_cartesian_2d(across, 0.0..top).map(|chart| self.plot(chart))
        };
        drawn.and_then(|drawn| drawn).and_then(|()| root.present()).map_err(|error| failed(&error))
    }

    /// The axes, the curves and their names.
    fn plot<'a, X, Y>(&self, mut chart: Plane<'a, X, Y>) -> Result<(), Failed>
    where
        X: Ranged<ValueType = f64> + ValueFormatter<f64>,
        Y: Ranged<ValueType = f64> + ValueFormatter<f64>,
    {
        let mut mesh = chart.configure_mesh();
        mesh.x_desc(self.x).y_desc(self.y).x_labels(14).light_line_style(TRANSPARENT).draw()?;
        for ((name, points), color) in self.curves.iter().zip(COLORS.iter().cycle()) {
            let line = LineSeries::new(points.iter().copied(), color.stroke_width(2));
            chart
                .draw_series(line)?
                .label(name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color.stroke_width(2)));
            chart.draw_series(points.iter().map(|point| Circle::new(*point, 3, color.filled())))?;
        }
        let mut legend = chart.configure_series_labels();
        legend.position(SeriesLabelPosition::UpperLeft).background_style(WHITE.mix(0.8));
        legend.border_style(BLACK.mix(0.3)).draw()
    }
}

type Plane<'a, X, Y> = ChartContext<'a, SVGBackend<'a>, Cartesian2d<X, Y>>;
type Failed = DrawingAreaErrorKind<<SVGBackend<'static> as DrawingBackend>::ErrorType>;

#[cfg(test)]
mod tests {
    use super::Chart;

    #[test]
    fn a_chart_names_its_curves_and_its_machine() {
        let file = tempfile_path();
        for is_log in [false, true] {
            let curves = vec![
                ("ours".to_owned(), vec![(1.0, 2.0), (4096.0, 900.0)]),
                ("theirs".to_owned(), vec![(1.0, 0.0)]),
            ];
            Chart { title: "t", machine: "two cores", x: "in flight", y: "1/s", is_log, curves }
                .draw(&file)
                .unwrap();
            let svg = std::fs::read_to_string(&file).unwrap();
            for word in ["ours", "theirs", "two cores", "in flight"] {
                assert!(svg.contains(word), "{word}");
            }
        }
        std::fs::remove_file(file).unwrap();
    }

    fn tempfile_path() -> std::path::PathBuf {
        std::env::temp_dir().join(format!("tollway-chart-{}.svg", std::process::id()))
    }
}
