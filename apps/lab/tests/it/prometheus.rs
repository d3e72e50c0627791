//! Prometheus text as a scraper reads it, format 0.0.4, and the tables of the documents.

use std::collections::{BTreeMap, BTreeSet};

/// What one scrape told.
#[derive(Debug, Default)]
pub(crate) struct Page {
    /// Each metric and its type.
    types: BTreeMap<String, String>,
    samples: Vec<Sample>,
}

#[derive(Debug)]
struct Sample {
    /// The metric it belongs to, without the endings of a histogram.
    metric: String,
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

impl Page {
    /// Reads every line, or says which one no scraper would take.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        if !text.ends_with('\n') {
            return Err("the last line has no end".to_owned());
        }
        let mut page = Self::default();
        for line in text.lines().filter(|line| !line.is_empty()) {
            page.take(line).ok_or_else(|| format!("wrong: {line}"))?;
        }
        page.series_are_unique()?;
        page.histograms_are_whole()?;
        Ok(page)
    }

    /// The value of the sample with exactly these labels.
    pub(crate) fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let wanted: BTreeMap<String, String> = labels
            .iter()
            .map(|&(label, value)| (label.to_owned(), value.to_owned()))
            .collect();
        let found = |sample: &&Sample| sample.name == name && sample.labels == wanted;
        Some(self.samples.iter().find(found)?.value)
    }

    fn take(&mut self, line: &str) -> Option<()> {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, _) = help.split_once(' ')?;
            return is_name(name, ":").then_some(());
        }
        if let Some(told) = line.strip_prefix("# TYPE ") {
            let (name, kind) = told.split_once(' ')?;
            let known = ["counter", "gauge", "histogram", "summary", "untyped"].contains(&kind);
            let again = self.types.insert(name.to_owned(), kind.to_owned());
            return (is_name(name, ":") && known && again.is_none()).then_some(());
        }
        if line.starts_with('#') {
            return Some(());
        }
        let sample = self.sample(line)?;
        // The lines of a metric stand together, below its type.
        let goes_on = self
            .samples
            .last()
            .is_some_and(|last| last.metric == sample.metric);
        let told_before = self
            .samples
            .iter()
            .any(|other| other.metric == sample.metric);
        self.samples.push(sample);
        (goes_on || !told_before).then_some(())
    }

    fn sample(&self, line: &str) -> Option<Sample> {
        let end = line.find(['{', ' '])?;
        let (name, mut rest) = line.split_at(end);
        let mut labels = BTreeMap::new();
        if let Some(inside) = rest.strip_prefix('{') {
            rest = inside;
            while !rest.starts_with('}') {
                let (label, value, after) = label(rest)?;
                let again = labels.insert(label.to_owned(), value);
                if again.is_some() {
                    return None;
                }
                rest = after.strip_prefix(',').unwrap_or(after);
                // Without a comma the labels are over.
                if rest.len() == after.len() && !rest.starts_with('}') {
                    return None;
                }
            }
            rest = &rest[1..];
        }
        // Rust reads `+Inf`, `-Inf` and `NaN` as Prometheus writes them.
        let value = rest.strip_prefix(' ')?.parse().ok()?;
        let of_histogram = ["_bucket", "_sum", "_count"]
            .iter()
            .filter_map(|ending| name.strip_suffix(ending))
            .find(|metric| {
                self.types
                    .get(*metric)
                    .is_some_and(|kind| kind == "histogram")
            });
        let metric = of_histogram.unwrap_or(name);
        (is_name(name, ":") && self.types.contains_key(metric)).then(|| Sample {
            metric: metric.to_owned(),
            name: name.to_owned(),
            labels,
            value,
        })
    }

    fn series_are_unique(&self) -> Result<(), String> {
        let mut seen = BTreeSet::new();
        for Sample { name, labels, .. } in &self.samples {
            if !seen.insert((name, labels)) {
                return Err(format!("twice: {name} {labels:?}"));
            }
        }
        Ok(())
    }

    /// Buckets never fall, and the last one, `+Inf`, holds all that was counted.
    fn histograms_are_whole(&self) -> Result<(), String> {
        let mut buckets: BTreeMap<_, Vec<(f64, f64)>> = BTreeMap::new();
        let mut counts = BTreeMap::new();
        for sample in &self.samples {
            if self.types[&sample.metric] != "histogram" {
                continue;
            }
            let mut labels = sample.labels.clone();
            let bound = labels.remove("le").map(|bound| bound.parse::<f64>());
            let series = (sample.metric.as_str(), labels);
            match bound {
                Some(Ok(bound)) => buckets
                    .entry(series)
                    .or_default()
                    .push((bound, sample.value)),
                Some(Err(_)) => return Err(format!("no bound: {sample:?}")),
                None if sample.name.ends_with("_count") => {
                    counts.insert(series, sample.value);
                }
                None => {}
            }
        }
        for (series, count) in &counts {
            let found = buckets.get(series).map_or(&[][..], Vec::as_slice);
            let ascends = found
                .windows(2)
                .all(|two| two[0].0 < two[1].0 && two[0].1 <= two[1].1);
            if !ascends || found.last() != Some(&(f64::INFINITY, *count)) {
                return Err(format!("{series:?} counts {count}, its buckets {found:?}"));
            }
        }
        if counts.len() == buckets.len() {
            Ok(())
        } else {
            Err("a histogram without its count".to_owned())
        }
    }
}

/// A label, its value, and what follows.
fn label(text: &str) -> Option<(&str, String, &str)> {
    let (label, quoted) = text.split_once("=\"")?;
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return is_name(label, "").then(|| (label, value, &quoted[at + 1..])),
            '\\' => value.push(match characters.next()?.1 {
                'n' => '\n',
                plain @ ('\\' | '"') => plain,
                _ => return None,
            }),
            plain => value.push(plain),
        }
    }
    None
}

fn is_name(text: &str, also: &str) -> bool {
    let may = |character: char| {
        character.is_ascii_alphanumeric() || character == '_' || also.contains(character)
    };
    text.chars().all(may) && text.starts_with(|first: char| !first.is_ascii_digit())
}

/// The metrics and the label values that the documents name.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    /// Each metric in the spelling of Prometheus: its type and its labels.
    metrics: BTreeMap<String, (String, BTreeSet<String>)>,
    values: BTreeMap<String, BTreeSet<String>>,
}

impl Tables {
    /// Finds them in the page's Markdown.
    pub(crate) fn of(page: &str) -> Self {
        let mut tables = Self::default();
        for line in page.lines().filter(|line| line.starts_with("| `")) {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            match cells[..] {
                [
                    name,
                    kind @ ("counter" | "gauge" | "histogram"),
                    _,
                    labels,
                    _,
                ] => {
                    let name = name.trim_matches('`').replace('.', "_");
                    let labels = words(labels).collect();
                    tables.metrics.insert(name, (kind.to_owned(), labels));
                }
                [labels, _, values] => {
                    for label in words(labels) {
                        let known = tables.values.entry(label).or_default();
                        known.extend(words(values));
                    }
                }
                // Events.
                _ => {}
            }
        }
        assert!(!tables.metrics.is_empty() && !tables.values.is_empty());
        tables
    }

    /// What a page says beyond the tables; the names of pipelines and the like are those given.
    pub(crate) fn undocumented(&self, page: &Page, names: &[(&str, &[&str])]) -> Vec<String> {
        let right = |sample: &Sample| {
            let (kind, labels) = self.metrics.get(&sample.metric)?;
            let mut told = sample.labels.clone();
            if kind == "histogram" {
                told.remove("le");
            }
            let closed = told.iter().all(|(label, value)| {
                match names.iter().find(|(named, _)| named == label) {
                    Some((_, known)) => known.contains(&value.as_str()),
                    None => self
                        .values
                        .get(label)
                        .is_some_and(|known| known.contains(value)),
                }
            });
            let same = kind == &page.types[&sample.metric] && told.keys().eq(labels);
            (closed && same).then_some(())
        };
        page.samples
            .iter()
            .filter(|sample| right(sample).is_none())
            .map(|sample| format!("{} {:?}", sample.name, sample.labels))
            .collect()
    }
}

/// What stands between backticks.
fn words(text: &str) -> impl Iterator<Item = String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned)
}

/// The reader itself: it takes what is right and nothing else.
#[test]
fn only_prometheus_text_is_read() {
    let right = "# HELP a Is.\n# TYPE a counter\na{b=\"c\\\"\\n\",d=\"\"} 1\na 2\n\n\
                 # TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_sum 3.5\nh_count 2\n";
    let page = Page::read(right).unwrap();
    assert_eq!(page.value("a", &[("b", "c\"\n"), ("d", "")]), Some(1.0));
    assert_eq!(page.value("h_sum", &[]), Some(3.5));
    assert_eq!(page.value("a", &[("b", "c")]), None);
    for wrong in [
        "a 1",
        "a 1\n",
        "# TYPE a number\n",
        "# TYPE a counter\n# TYPE a counter\n",
        "# TYPE a counter\na\n",
        "# TYPE a counter\na one\n",
        "# TYPE a counter\na{b=\"c} 1\n",
        "# TYPE a counter\na{b=\"c\"d=\"e\"} 1\n",
        "# TYPE a counter\na{b=\"\\c\"} 1\n",
        "# TYPE a counter\na{b.c=\"d\"} 1\n",
        "# TYPE a counter\na 1\na 2\n",
        "# TYPE a counter\n# TYPE b counter\na{c=\"1\"} 1\nb 1\na{c=\"2\"} 1\n",
        "# TYPE a.b counter\na.b 1\n",
        "# TYPE h histogram\nh_bucket{le=\"1\"} 3\nh_bucket{le=\"+Inf\"} 2\nh_count 2\n",
        "# TYPE h histogram\nh_bucket{le=\"+Inf\"} 2\nh_count 3\n",
        "# TYPE h histogram\nh_bucket{le=\"1\"} 2\nh_count 2\n",
        "# TYPE h histogram\nh_bucket{le=\"+Inf\"} 2\n",
    ] {
        assert!(Page::read(wrong).is_err(), "{wrong}");
    }
}
