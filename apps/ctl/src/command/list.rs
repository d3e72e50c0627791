use std::cmp::Reverse;

use backstay_saga::{Listed, Standing};
use serde::Serialize;

use super::To;
use crate::cli::List;
use crate::output::{Format, Table, document, say, time};

/// For scripts.
#[derive(Serialize)]
struct Document<'a> {
    group: &'a str,
    /// As many there are; `instances` has the first of them.
    total: usize,
    instances: Vec<Row<'a>>,
}

#[derive(Serialize)]
pub(super) struct Row<'a> {
    saga: &'a str,
    id: &'a str,
    standing: Standing,
    since: String,
    why: Option<&'a str>,
}

pub(super) async fn run(to: &To, list: &List) -> anyhow::Result<()> {
    let (total, found) = find(to, list).await?;
    if to.format == Format::Json {
        return document(&Document {
            group: &to.place.group,
            total,
            instances: found.iter().map(row).collect(),
        });
    }
    if found.is_empty() {
        return Ok(say(&format!("none in group {}", to.place.group))?);
    }
    let mut table = Table::new(["SAGA", "ID", "STANDING", "SINCE", "WHY"]);
    for one in &found {
        table.row([
            one.saga.clone(),
            one.id.clone(),
            one.standing.to_string(),
            time(one.since),
            one.why.clone().unwrap_or_default(),
        ]);
    }
    say(&table.text())?;
    if total > found.len() {
        let which = if list.ended { "latest" } else { "oldest" };
        say(&format!(
            "{} {which} of {total}; --limit shows more",
            found.len()
        ))?;
    }
    Ok(())
}

pub(super) fn row(one: &Listed) -> Row<'_> {
    Row {
        saga: &one.saga,
        id: &one.id,
        standing: one.standing,
        since: time(one.since),
        why: one.why.as_deref(),
    }
}

/// How many there are, and the first of them. Never holds many more than are shown.
async fn find(to: &To, list: &List) -> anyhow::Result<(usize, Vec<Listed>)> {
    let (operator, only) = (&to.place.operator, list.only());
    let (mut total, mut found) = (0, Vec::new());
    let mut after: Option<String> = None;
    loop {
        let page = if list.ended {
            operator.ended(after.as_deref()).await
        } else {
            operator.active(after.as_deref()).await
        };
        let page = page.map_err(|error| to.failed(error))?;
        let is_wanted = |one: &Listed| only.is_none_or(|only| one.standing == only);
        let wanted = page.instances.into_iter().filter(is_wanted);
        let before = found.len();
        found.extend(wanted);
        total += found.len() - before;
        if list.ended {
            found.sort_by_key(|one| Reverse(one.since));
        } else {
            found.sort_by_key(|one| one.since);
        }
        found.truncate(list.limit);
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok((total, found)),
        }
    }
}
