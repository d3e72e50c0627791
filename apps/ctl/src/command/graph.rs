use super::To;
use crate::cli::{Graph, Language};
use crate::output::{Format, document, say};

pub(super) async fn run(to: &To, graph: &Graph) -> anyhow::Result<()> {
    let shown = to.shown(&graph.instance).await?;
    match (to.format, graph.format) {
        (Format::Json, _) => document(shown.graph.as_ref()),
        (Format::People, Language::Mermaid) => Ok(say(&shown.graph.mermaid())?),
        (Format::People, Language::Dot) => Ok(say(&shown.graph.dot())?),
    }
}
